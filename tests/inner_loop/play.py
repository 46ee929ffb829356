"""Helpers of the inner loop's tests: play a program text on the tiny task and look at what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inner_loop.bench import Bench
from inner_loop.events import RunEndedEvent
from inner_loop.run import run
from programs.program import Program
from tests.events import into, of, typed
from trainer.experiment import Trainer
from trainer.streams import Streams

BLOBS = Path(__file__).parent / "blobs"
STREAMS_OF_TESTS = Streams.from_seed(7)
FULL = 0.2  # charge of a full experiment with fixed steps, s
#: What a machine measures and a repetition need not repeat.
MACHINE = (
    "device_seconds_spent", "wall_seconds", "peak_memory_mb", "started_at", "cached", "training_seconds",
    "prediction_seconds",
)  # fmt: skip
Event = dict[str, Any]


def program(charter: str = "", ideas: Sequence[str] = ()) -> Program:
    """A program with that charter (one field per line) and those ideas."""
    front = "---\nmetaloop:\n" + "".join(f"  {line}\n" for line in charter.splitlines()) + "---\n"
    listed = "## Ideas\n\n" + "".join(f"- {idea}\n" for idea in ideas)
    return Program.parse((front if charter else "") + "# Research\n\nMake it better.\n\n" + listed)


@dataclass
class Played:
    result: RunEndedEvent
    events: list[Event]

    @property
    def experiments(self) -> list[Event]:
        """Each with its decision."""
        decided = self.decisions
        return [row | {"decision": decided.get(row["experiment_id"])} for row in of(self.events, "experiment")]

    @property
    def decisions(self) -> dict[str, str]:
        """Experiment id → decision."""
        return {e["experiment_id"]: e["decision"] for e in of(self.events, "decision")}

    def decided(self, decision: str) -> list[Event]:
        return [row for row in self.experiments if row["decision"] == decision]


def play(
    trainer: Trainer, text: Program, experiments: float = 8, *, full: float = FULL, folder: Path | None = None,
    run_id: str = "r0", run_seed: int = 3, recorded: Sequence[Mapping[str, Any]] = (), **more: Any,
) -> Played:  # fmt: skip
    """A run with the budget of so many full experiments (fixed steps)."""
    events: list[Event] = []
    result = run(
        text, trainer, run_id=run_id, run_seed=run_seed, streams=STREAMS_OF_TESTS, budget_seconds=experiments * full,
        emit=into(events), folder=folder, recorded=typed(recorded), **more,
    )  # fmt: skip
    return Played(result, events)


def open_bench(
    trainer: Trainer, experiments: float = 20, run_id: str = "r0", full: float = FULL, **more: Any
) -> tuple[Bench, list[Event]]:
    """A bench with its baseline trained, and the events it emits."""
    events: list[Event] = []
    bench = Bench(
        trainer, run_id=run_id, run_seed=3, streams=STREAMS_OF_TESTS, budget_seconds=experiments * full,
        emit=into(events), **more,
    )  # fmt: skip
    bench.start()
    return bench, events


def told(events: Sequence[Event]) -> list[Event]:
    """Events without what differs from machine to machine."""
    return [{key: value for key, value in event.items() if key not in MACHINE} for event in events]
