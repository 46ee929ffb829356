"""The least gain to keep, seen in a run on a simulated task."""

from __future__ import annotations

from pathlib import Path

import pytest

from inner_loop.behaviour import behaviour_id, effective
from tests.inner_loop.play import STREAMS_OF_TESTS, play, program
from tests.studies import planted
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.task import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "planted", 5)


def test_the_least_gain_to_keep(task: Task, tmp_path: Path) -> None:
    trainer = Trainer(task, DataStore(task, STREAMS_OF_TESTS, tmp_path), fixed_steps=True)

    def kept(charter: str) -> list[float]:
        played = play(trainer, program(charter), 40, full=task.steps * task.seconds_per_step)
        by_number = {row["number"]: row["metric"] for row in played.experiments}
        rows = [row for row in played.decided("keep") if row["number"]]
        return [task.sign * (by_number[row["parent_number"]] - row["metric"]) for row in rows]

    assert 0 < min(kept("")) < 0.05 < min(kept("keep: {least: 0.05}"))
    assert kept("keep: {least: 100}") == []


def test_programs_without_these_fields_behave_as_before(task: Task) -> None:
    assert "least" not in str(effective(program().charter, task))
    texts = ("", "keep: {least: 0.0}", "keep: {least: 0.1}")
    stock, zero, least = (behaviour_id(program(charter), task) for charter in texts)
    assert stock == zero == "bd334e2744804" != least
