"""Tracks the nodes of a cluster and which of them may run this study's jobs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena.cluster.facts import NodeFacts, facts

if TYPE_CHECKING:
    from ray import ObjectRef

LOOK_SECONDS = 1.0
FACTS_SECONDS = 60.0  # a new node has to import Metaloop first


@dataclass(frozen=True)
class UsableNode:
    """A node that can be used: Ray's id, its facts, its number of devices."""

    name: str
    facts: NodeFacts
    devices: int


def pinned(name: str) -> Any:
    """Ray's option that pins a task or an actor to a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=name, soft=False)


def resources() -> dict[str, dict[str, float]]:
    """The resources of each live node, by id."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}


class Nodes:
    """Polls Ray for its nodes and each new node for its facts. ``say``: receives once why a node is not used."""

    def __init__(self, resource: str, hardware: str, say: Callable[[str], None]) -> None:
        self.resource, self.hardware, self._say = resource, hardware, say
        self.here = facts()
        self.used: dict[str, UsableNode] = {}
        self.refused: dict[str, str] = {}  # name → why
        self._fact_calls: dict[str, ObjectRef[NodeFacts]] = {}
        self._looked = float("-inf")

    @property
    def has_pending(self) -> bool:
        """Whether a node may still turn out to be usable."""
        return bool(self._fact_calls)

    def look(self, now: bool = False) -> tuple[list[UsableNode], list[str]]:
        """New usable nodes, and names of usable nodes that are gone."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return [], []
        import ray

        self._looked = time.monotonic()
        alive = {name: int(there.get(self.resource, 0)) for name, there in resources().items()}
        gone = [name for name in self.used if name not in alive]
        for name in gone:
            del self.used[name]
        self._fact_calls = {name: ref for name, ref in self._fact_calls.items() if name in alive}
        for name in alive:
            if alive[name] and name not in self.used and name not in self.refused and name not in self._fact_calls:
                ask = ray.remote(num_cpus=0, max_retries=0)(facts)
                self._fact_calls[name] = ask.options(scheduling_strategy=pinned(name)).remote()
        return [node for name in list(self._fact_calls) if (node := self._answer_of(name, alive[name]))], gone

    def _answer_of(self, name: str, devices: int) -> UsableNode | None:
        import ray

        ready, _ = ray.wait([self._fact_calls[name]], timeout=0)
        if not ready:
            return None
        ref = self._fact_calls.pop(name)
        try:
            node_facts = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            self.refuse(name, f"metaloop does not run there: {' '.join(str(error.cause).split())[:160]}")
            return None
        except ray.exceptions.RayError:  # no answer; if the node is alive, it is queried again
            return None
        why = node_facts.unfit(self.hardware, self.here)
        if why:
            self.refuse(name, why, node_facts.host)
            return None
        self.used[name] = UsableNode(name, node_facts, devices)
        return self.used[name]

    def refuse(self, name: str, why: str, host: str = "") -> None:
        """Stop using a node, and report it once."""
        host = host or (self.used[name].facts.host if name in self.used else "")
        self.used.pop(name, None)
        self.refused[name] = f"{label(name, host)} is not used: {why}"
        self._say(self.refused[name])


def common_hardware() -> str:
    """The hardware class of most CPUs of the cluster; empty if a local one would be started."""
    from arena.cluster.connect import address, connect

    if not address():
        return ""
    connect(0)
    import ray

    alive = {name: there.get("CPU", 0.0) for name, there in resources().items()}
    ask = ray.remote(num_cpus=0, max_retries=0)(facts)
    cpus_by_call = {
        ask.options(scheduling_strategy=pinned(name)).remote(): cpus for name, cpus in alive.items() if cpus
    }
    done, _ = (
        ray.wait(list(cpus_by_call), num_returns=len(cpus_by_call), timeout=FACTS_SECONDS) if cpus_by_call else ([], [])
    )
    votes: dict[str, float] = defaultdict(float)
    for ref in done:
        with suppress(ray.exceptions.RayError):
            votes[ray.get(ref).hardware] += cpus_by_call[ref]
    return max(sorted(votes), key=lambda name: votes[name], default="")


def label(name: str, host: str) -> str:
    """A node's name for people: several nodes may share a machine."""
    return f"node {name[:6]}{f' ({host})' if host else ''}"
