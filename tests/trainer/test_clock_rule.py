"""What a verification may use beyond the experiments of its source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from arena.work.clock_rule import TRIES, CpuUse, overrun, own_experiments, verification
from bench.simulated_tasks import random_law, simulated_task
from inner_loop.events import Experiment
from tests.events import example
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome, Status
from trainer.streams import Streams
from trainer.task import Task


def used(training: float | None, prediction: float | None) -> Outcome:
    return Outcome("ok", 1.0, 0.1, 0.1, 0.1, training_seconds=training, prediction_seconds=prediction)


def row(training: float | None, prediction: float | None, source_id: str = "s1", fraction: float = 1.0) -> Experiment:
    measured = {"training_seconds": training, "prediction_seconds": prediction}
    return example(Experiment, source_id=source_id, fraction=fraction, **measured)


@pytest.mark.parametrize(
    ("own", "found", "text"),
    [
        ([(0.08, 0.01)], (0.0949, 0.0284), ""),  # a twentieth and .011, a quarter and .016
        ([(0.08, 0.01)], (0.0951, 0.01), "0.095 CPU-s of training, at most 0.080"),
        ([(0.08, 0.01)], (0.08, 0.0286), "0.029 CPU-s of predicting, at most 0.010"),
        ([(0.08, 0.01), (0.1, 0.01)], (0.11, 0.01), ""),  # the longest counts
        ([(2.0, 0.2)], (2.11, 0.26), ""),
        ([(2.0, 0.2)], (2.12, 0.2), "2.120 CPU-s of training, at most 2.000"),
        ([], (9.0, 9.0), ""),  # nothing to compare with
        ([(None, None)], (9.0, 9.0), ""),  # an experiment whose CPU time was not measured
        ([(0.08, None)], (0.08, 9.0), ""),
        ([(0.08, 0.01)], (None, None), ""),  # a simulated one, or a GPU
    ],
)
def test_tolerances(own: list[tuple[float, float]], found: tuple[float, float], text: str) -> None:
    told = f"clock: {text} in the source's own experiments" if text else ""
    assert overrun([CpuUse(*figures) for figures in own], used(*found)) == told


def test_full_experiments_of_the_same_source_count() -> None:
    rows = [row(0.08, 0.01), row(0.5, 0.5, source_id="s2"), row(0.02, 0.01, fraction=0.25), row(None, None)]
    assert own_experiments(rows, "s1") == (CpuUse(0.08, 0.01, rows[0].seed), CpuUse(None, None, rows[0].seed))


class _Busy(Trainer):
    """On a machine whose other work makes trainings fail, or take longer, unless nothing else trains."""

    status: Status = "ok"
    seconds, alone_now = 1.0, False

    def _attempt(self, spec: Spec) -> Outcome:
        done = replace(super()._attempt(spec), device_seconds_spent=1.0, training_seconds=1.0)
        return done if self.alone_now else replace(done, status=self.status, training_seconds=self.seconds)


@pytest.mark.parametrize(
    ("status", "seconds", "tries"), [("ok", 1.0, 1), ("invalid", 1.0, 2), ("timeout", 1.0, 2), ("ok", 2.0, TRIES)]
)
def test_what_load_can_cause_counts_only_where_it_happens_alone(
    tmp_path: Path, status: Status, seconds: float, tries: int
) -> None:
    task = Task.load(simulated_task(random_law(1), tmp_path / "law"))
    trainer = _Busy(task, DataStore(task, Streams.fresh(), tmp_path))
    trainer.status, trainer.seconds = status, seconds

    @contextmanager
    def alone() -> Iterator[None]:
        trainer.alone_now = True
        yield
        trainer.alone_now = False

    spec = Spec(task.baseline(), 1)
    outcome = verification(trainer, spec, [CpuUse(training_seconds=1.0)])
    never_alone = ("invalid" if seconds > 1 else status, tries)
    assert (outcome.status, outcome.device_seconds_spent) == never_alone
    trainer.alone = alone
    outcome = verification(trainer, spec, [CpuUse(training_seconds=1.0)])
    assert outcome.status == "ok" and outcome.device_seconds_spent == tries
