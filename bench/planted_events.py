"""Events of studies with a known truth, written through the real Ledger: what tests and benches hold analysis against.

Programs, matches, runs and verifications as the arena writes them, from gains that a law has drawn; nothing was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.ledger import Ledger

if TYPE_CHECKING:
    import numpy as np

    from bench.planted_laws import DirectiveLaw

BUDGET = 3.0  # device-seconds of a run, all of them charged


def program(ledger: Ledger, program_id: str, directives: Iterable[str | Mapping[str, Any]] = (), **more: Any) -> None:
    """A program that holds these directives, items of its list by name, or rows of their own; ``more`` replaces
    fields of the event."""
    held = [
        {"directive_id": directive, "heading": "Loop", "kind": "item", "text": directive, "position": at}
        if isinstance(directive, str) else directive
        for at, directive in enumerate(directives)
    ]  # fmt: skip
    event = {"program_id": program_id, "name": program_id, "generation": 0, "operator": "starter", "parent_ids": [],
             "words": 100, "text": f"# {program_id}\n", "directives": held}  # fmt: skip
    ledger.append({"kind": "program", **event, **more}, sync=False)


def mutation(
    ledger: Ledger, child: str, parents: Sequence[str], generation: int, attempt: int = 0, **more: Any
) -> None:
    event = {"generation": generation, "attempt": attempt, "child_id": child, "parent_ids": list(parents),
             "operator": "planted", "model": None, "tokens": 0, "usd": 0.0, "accepted": True, "reason": "",
             "evidence_ids": []}  # fmt: skip
    ledger.append({"kind": "mutation", **event, **more}, sync=False)


def match(
    ledger: Ledger, match_id: str, arms: Mapping[str, str], roles: Mapping[str, str] = MappingProxyType({}), **more: Any
) -> None:
    """arms: arm_id → program_id; roles: arm_id → role, of those that are no mere program."""
    listed = [{"arm_id": arm, "program_id": who, "role": roles.get(arm, "program")} for arm, who in arms.items()]
    event = {"match_id": match_id, "config": {"direction": "lower", "metric": "nats"}, "task": "strokes",
             "task_id": "t1", "run_budget": BUDGET, "hardware_class": "cpu:test", "stream": "selection",
             "label": match_id, "purpose": "race", "generation": 0, "started_at": "2026-01-01T00:00:00Z",
             "arms": listed}  # fmt: skip
    ledger.append({"kind": "match", **event, **more}, sync=False)


def start(ledger: Ledger, run_id: str, match_id: str, arm_id: str, program_id: str, seed: int, **more: Any) -> None:
    event = {"run_id": run_id, "match_id": match_id, "arm_id": arm_id, "program_id": program_id, "task": "strokes",
             "run_seed": seed, "stream": "selection", "researcher": "scripted",
             "device_seconds_budget": BUDGET}  # fmt: skip
    ledger.append({"kind": "run_started", **event, **more}, sync=False)


def end(ledger: Ledger, run_id: str, claimed: float = 0.0, state: str = "finished", **more: Any) -> None:
    event = {"run_id": run_id, "state": state, "charged": BUDGET, "spent": 2.5, "cached_seconds": 0.4,
             "forfeited": 0.1, "overshoot": 0.0, "tokens": 0, "usd": 0.0, "claimed_best": 1.0, "claimed_gain": claimed,
             "final_source_id": "s1", "wall_seconds": 4.0, "experiment_wall_seconds": 3.5}  # fmt: skip
    ledger.append({"kind": "run_ended", **event, **more}, sync=False)


def verify(ledger: Ledger, run_id: str, arm_id: str, program_id: str, gains: Iterable[float], **more: Any) -> None:
    """A verification for each gain, on seeds 0, 1, 2 …"""
    for seed, gain in enumerate(gains):
        event = {"run_id": run_id, "arm_id": arm_id, "program_id": program_id, "task": "strokes",
                 "stream": "selection", "seed": seed, "status": "ok", "metric": 2.0 - gain, "baseline_metric": 2.0,
                 "gain": gain, "trust": "unverified"}  # fmt: skip
        ledger.append({"kind": "verification", **event, **more}, sync=False)


def experiment(
    ledger: Ledger, run_id: str, number: int, *, decision: str, metric: float | None, cited: Sequence[str] = (),
    seconds: float = 0.15, **more: Any,
) -> None:  # fmt: skip
    """An experiment and the decision on it; ``metric`` None: it crashed."""
    event = {
        "run_id": run_id, "experiment_id": f"e-{run_id}-{number}", "number": number, "parent_number": None,
        "source_id": f"s-{run_id}-{number}", "parent_source_id": None, "edit": {"set": {}, "apply": []}, "config": {},
        "seed": 7, "replicate": 0, "fraction": 1.0, "status": "crash" if metric is None else "ok", "metric": metric,
        "device_seconds_charged": seconds, "device_seconds_spent": seconds, "wall_seconds": 0.2,
        "peak_memory_mb": 100.0, "steps": 50, "description": "try", "proposer": "random",
        "directive_ids": list(cited), "trust": "unverified", "cached": False, "reason": "", "diff": "-a\n+b\n",
        "started_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    ledger.append({"kind": "experiment", **event, **more}, sync=False)
    decide(ledger, run_id, number, decision)


def decide(ledger: Ledger, run_id: str, number: int, decision: str) -> None:
    event = {"run_id": run_id, "experiment_id": f"e-{run_id}-{number}", "decision": decision, "reason": ""}
    ledger.append({"kind": "decision", **event}, sync=False)


@dataclass
class Population:
    """Programs as sets of directives under a law, and every gain that was measured of them, match by match."""

    ledger: Ledger
    law: DirectiveLaw
    rng: np.random.Generator
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gains: dict[str, list[float]] = field(default_factory=dict)

    def add(self, program_id: str, directives: Sequence[str], parents: Sequence[str] = (), generation: int = 0) -> None:
        """A program enters; with ``parents`` as their child."""
        self.held[program_id], self.gains[program_id] = tuple(directives), []
        program(self.ledger, program_id, directives, generation=generation, parent_ids=list(parents))
        if parents:
            mutation(self.ledger, program_id, parents, generation, attempt=len(self.held))

    def play(self, match_id: str, programs: Sequence[str], runs: int, generation: int = 0, **more: Any) -> None:
        """A match: ``runs`` runs each on shared run seeds, every gain drawn from the law and written down."""
        match(self.ledger, match_id, {f"a-{match_id}-{who}": who for who in programs}, generation=generation, **more)
        drift = self.law.runs.drift * float(self.rng.standard_normal())
        seeds = self.rng.standard_normal(runs)
        for who in programs:
            drawn = self.law.draw(self.held[who], runs, self.rng, seeds, drift)
            for number, gain in enumerate(drawn.tolist()):
                arm, run_id = f"a-{match_id}-{who}", f"r-{match_id}-{who}-{number}"
                start(self.ledger, run_id, match_id, arm, who, number)
                end(self.ledger, run_id, claimed=gain)
                verify(self.ledger, run_id, arm, who, [gain])
                self.gains[who].append(gain)
