"""What the suites share: the part under test, and a simulated task, on which an experiment takes microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inner_loop.bench import Bench
from inner_loop.events import Event
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.laws.planted import COST, random_law, simulated_task
from trainer.laws.simulated import trainer_for
from trainer.streams import Streams
from trainer.task import Task

STREAMS = Streams.from_seed(7)
LAW = random_law(1, noise=0.002, trajectory=0.0, misleading=0.0, crash_rate=0.0)


class Conformance:
    """``part``: the name in the registry of the part that a subclass tests."""

    part: str

    @pytest.fixture
    def name(self) -> str:
        return self.part

    @pytest.fixture(scope="class")
    @classmethod
    def trainer(cls, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
        """Of a simulated task: every experiment costs the same, and the same question has the same answer."""
        folder = tmp_path_factory.mktemp("conformance")
        task = Task.load(simulated_task(LAW, folder / "task"))
        return trainer_for(task, DataStore(task, STREAMS, folder / "splits"), fixed_steps=True)


def open_bench(trainer: Trainer, experiments: float = 40) -> tuple[Bench, list[Event]]:
    """A bench with its baseline trained, a budget of so many full experiments, and the events that it emits."""
    events: list[Event] = []
    bench = Bench(
        trainer, run_id="r0", run_seed=3, streams=STREAMS, budget_seconds=experiments * COST, emit=events.append
    )
    bench.start()
    return bench, events


def changes(sign: float, count: int) -> list[tuple[str, Any]]:
    """So many knobs with the value that gains most on each (``sign`` -1: that loses most), the largest first."""
    best: dict[str, tuple[float, Any]] = {}
    for (knob, value), effect in LAW.effects.items():
        if (knob, value) not in LAW.crashes:
            best[knob] = max(best.get(knob, (0.0, None)), (sign * effect, value), key=lambda pair: pair[0])
    order = sorted(best, key=lambda knob: -best[knob][0])
    return [(knob, best[knob][1]) for knob in order[:count]]


def edit_of(chosen: Sequence[tuple[str, Any]]) -> Edit:
    constants = {knob: value for knob, value in chosen if not isinstance(value, bool)}
    return Edit(constants, tuple(knob for knob, value in chosen if isinstance(value, bool)))


GOOD, BAD, FAILING = edit_of(changes(1, 3)), edit_of(changes(-1, 1)), edit_of(sorted(LAW.crashes, key=str)[:1])
