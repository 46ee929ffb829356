"""The nodes of a cluster as they come and go: which of them this study's jobs may use."""

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
FACTS_SECONDS = 60.0  # a node that has just started has to import what it tells


@dataclass(frozen=True)
class UsableNode:
    """A node that can be used: Ray's id of it, its machine, how many of the resource it has."""

    name: str
    facts: NodeFacts
    devices: int


def pinned(name: str) -> Any:
    """Ray's option that keeps a task or an actor on that node, or nowhere."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=name, soft=False)


def resources() -> dict[str, dict[str, float]]:
    """What each node that lives has, by its id."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}


class Nodes:
    """Asks Ray for its nodes now and then, and each new one for its facts. ``say`` is told once why one is not used."""

    def __init__(self, resource: str, hardware: str, say: Callable[[str], None]) -> None:
        self.resource, self.hardware, self._say = resource, hardware, say
        self.here = facts()
        self.used: dict[str, UsableNode] = {}
        self.refused: dict[str, str] = {}  # name → why
        self._asked: dict[str, ObjectRef[NodeFacts]] = {}
        self._looked = float("-inf")

    @property
    def hopeful(self) -> bool:
        """Whether some node may yet turn out to be of use."""
        return bool(self._asked)

    def look(self, now: bool = False) -> tuple[list[UsableNode], list[str]]:
        """Nodes that can be used from now on, and names of those that could and are gone."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return [], []
        import ray

        self._looked = time.monotonic()
        alive = {name: int(there.get(self.resource, 0)) for name, there in resources().items()}
        gone = [name for name in self.used if name not in alive]
        for name in gone:
            del self.used[name]
        self._asked = {name: ref for name, ref in self._asked.items() if name in alive}
        for name in alive:
            if alive[name] and name not in self.used and name not in self.refused and name not in self._asked:
                ask = ray.remote(num_cpus=0, max_retries=0)(facts)
                self._asked[name] = ask.options(scheduling_strategy=pinned(name)).remote()
        return [node for name in list(self._asked) if (node := self._heard(name, alive[name]))], gone

    def _heard(self, name: str, devices: int) -> UsableNode | None:
        import ray

        ready, _ = ray.wait([self._asked[name]], timeout=0)
        if not ready:
            return None
        ref = self._asked.pop(name)
        try:
            node_facts = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            self.refuse(name, f"metaloop does not run there: {' '.join(str(error.cause).split())[:160]}")
            return None
        except ray.exceptions.RayError:  # it went before it answered; should it live, it is asked again
            return None
        why = node_facts.unfit(self.hardware, self.here)
        if why:
            self.refuse(name, why, node_facts.host)
            return None
        self.used[name] = UsableNode(name, node_facts, devices)
        return self.used[name]

    def refuse(self, name: str, why: str, host: str = "") -> None:
        """Use a node no more; told once."""
        host = host or (self.used[name].facts.host if name in self.used else "")
        self.used.pop(name, None)
        self.refused[name] = f"{label(name, host)} is not used: {why}"
        self._say(self.refused[name])


def common_hardware() -> str:
    """The hardware class of most CPUs of the cluster that is there; empty where one of our own would be started."""
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
    """A node for a person: several may share a machine."""
    return f"node {name[:6]}{f' ({host})' if host else ''}"
