"""Studies with a known truth, written through the real Ledger: planted effects, noise of runs and of seeds.

The world: a task whose metric (lower is better, or higher) is ``base`` minus the planted effects of the values that
are set, minus planted interactions, plus seed noise. Runs are greedy one-change searches, as the stock loop is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.ledger import Ledger
from bench.planted_events import decide, end, experiment, match, program, start, verify

__all__ = [
    "World", "decide", "end", "match", "played", "program", "race", "run", "search", "sid", "start", "study", "verify",
]  # fmt: skip

Config = dict[str, Any]


def sid(config: Mapping[str, Any]) -> str:
    return "s" + hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class World:
    """effects: (knob, value) → gain in metric units, a value of True is a patch; crashes: values that always fail;
    clash: values that fail together."""

    effects: Mapping[tuple[str, Any], float]
    baseline: Mapping[str, Any]
    interactions: Mapping[tuple[tuple[str, Any], tuple[str, Any]], float] = field(default_factory=dict)
    crashes: frozenset[tuple[str, Any]] = frozenset()
    clash: frozenset[tuple[str, Any]] = frozenset()
    noise: float = 0.01
    base: float = 2.0
    direction: str = "lower"

    def gain(self, config: Mapping[str, Any]) -> float:
        held = set(config.items())
        single = sum(effect for key, effect in self.effects.items() if key in held)
        return single + sum(e for (a, b), e in self.interactions.items() if a in held and b in held)

    def metric(self, config: Mapping[str, Any], noise: float) -> float:
        gain = self.gain(config) + noise
        return self.base - gain if self.direction == "lower" else self.base + gain


SMALL = World(
    effects={("LR", 0.002): 0.1, ("LR", 0.004): -0.1, ("muon", True): 0.2, ("OPT", "adamw"): 0.05},
    baseline={"LR": 0.001, "OPT": "sgd", "muon": False},
    crashes=frozenset({("LR", 0.004)}),
)


@contextmanager
def played(folder: Path, *programs: str, **more: Any) -> Iterator[Ledger]:
    """The ledger of a study with the match m1 of these programs, whose arms are a1, a2 …"""
    with Ledger(folder / "ledger", "arena") as ledger:
        match(ledger, "m1", {f"a{number}": who for number, who in enumerate(programs, 1)}, **more)
        yield ledger


def run(
    ledger: Ledger, run_id: str, match_id: str, arm: str, who: str, seed: int, gains: Sequence[float], *,
    claimed: float = 0.0, state: str = "finished", stream: str = "selection", trust: str = "unverified",
) -> None:  # fmt: skip
    """A run without experiments that has ended, with a verification for each gain."""
    start(ledger, run_id, match_id, arm, who, seed, stream=stream)
    end(ledger, run_id, claimed=claimed, state=state)
    verify(ledger, run_id, arm, who, gains, stream=stream, trust=trust)


def race(
    ledger: Ledger, match_id: str, truth: Mapping[str, tuple[float, float]], n: int, rng: np.random.Generator
) -> None:
    """A match of ready-made runs: arm (named as its program) → (true gain, sd over runs), n runs each."""
    match(ledger, match_id, {f"a-{who}": who for who in truth})
    for who, (gain, sd) in truth.items():
        for seed in range(n):
            own = rng.normal(gain, sd)
            run(ledger, f"r-{match_id}-{who}-{seed}", match_id, f"a-{who}", who, seed, [own + 0.01, own - 0.01],
                claimed=own + 0.2)  # fmt: skip


def search(
    ledger: Ledger, world: World, run_id: str, rng: np.random.Generator, *, tries: int, seed: int = 7,
    proposer: str = "random", changes: int = 1, directives: Sequence[str] = (), ideas: Sequence[tuple[str, Any]] = (),
) -> Config:  # fmt: skip
    """A greedy run's experiments and decisions; each try makes 1..changes changes. Returns the final config.

    ``ideas`` are tried first, in order, by the proposer "queue". A try cites the directive of its position, if any.
    """
    head, head_number = dict(world.baseline), 0
    head_metric = world.metric(head, rng.normal(0, world.noise))
    _experiment(ledger, run_id, 0, None, {}, head, None, seed, head_metric, (), proposer, "baseline")
    for number in range(1, tries + 1):
        queued = ideas[number - 1] if number <= len(ideas) else None
        cited = [name for name in directives[number - 1 : number] if name]
        edit = dict([queued]) if queued else propose(world, head, rng, changes)
        if not edit:
            continue
        config = head | edit
        failed = any(item in world.crashes for item in edit.items())
        failed |= bool(world.clash) and world.clash <= config.items()
        metric = None if failed else world.metric(config, rng.normal(0, world.noise))
        who = "queue" if queued else proposer
        better = metric is not None and (metric < head_metric) == (world.direction == "lower")
        _experiment(ledger, run_id, number, head_number, edit, config, sid(head), seed, metric, cited, who,
                    "keep" if better else "discard")  # fmt: skip
        if better and metric is not None:
            head, head_metric, head_number = config, metric, number
    return head


def propose(world: World, head: Config, rng: np.random.Generator, changes: int) -> Config:
    """1..changes random changes of head; a patch that is applied is never taken back."""
    options = [(k, v) for k, v in world.effects if head.get(k) != v and head.get(k) is not True]
    count = min(len(options), 1 + int(rng.integers(changes)))
    return dict(options[i] for i in rng.choice(len(options), size=count, replace=False)) if options else {}


def _experiment(
    ledger: Ledger, run_id: str, number: int, parent: int | None, edit: Config, config: Config,
    parent_source: str | None, seed: int, metric: float | None, cited: Sequence[str], proposer: str, decision: str,
) -> None:  # fmt: skip
    experiment(
        ledger, run_id, number, decision=decision, metric=metric, cited=cited, parent_number=parent,
        source_id=sid(config), parent_source_id=parent_source, config=config, seed=seed, proposer=proposer,
        edit={"set": {k: v for k, v in edit.items() if v is not True},
              "apply": [k for k, v in edit.items() if v is True]},
    )  # fmt: skip


def study(
    folder: Path, world: World, *, runs: int, tries: int, seed: int = 0, changes: int = 1, proposer: str = "random",
    programs: Sequence[str] = ("stock",), directives: Sequence[str] = (),
) -> Path:  # fmt: skip
    """A study of one match: ``runs`` searches per program, verified on two fresh seeds each. Returns the folder."""
    rng = np.random.default_rng(seed)
    config = {"direction": world.direction, "metric": "nats"}
    with Ledger(folder / "ledger", "arena") as ledger:
        ledger.append({"kind": "study", "study_id": "st1", "config": {}, "version": "0"}, sync=False)
        for who in programs:
            program(ledger, who)
        match(ledger, "m1", {f"a-{who}": who for who in programs}, config=config)
        for who in programs:
            for k in range(runs):
                run_id = f"r-{who}-{k}"
                start(ledger, run_id, "m1", f"a-{who}", who, k)
                own = 1000 * programs.index(who) + k  # a training seed for each run
                final = search(ledger, world, run_id, rng, tries=tries, seed=own, changes=changes, proposer=proposer,
                               directives=directives)  # fmt: skip
                end(ledger, run_id, claimed=world.gain(final))
                verify(ledger, run_id, f"a-{who}", who, world.gain(final) + rng.normal(0, world.noise, 2))
    return folder
