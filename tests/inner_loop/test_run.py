"""The stock loop, and what a run comes to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from programs.common.errors import TaskError, UsageError
from programs.program import Program
from programs.shelf import names, starter
from tests.conformance import ResearcherConformance
from tests.inner_loop.play import BLOBS, FULL, STREAMS_OF_TESTS, play, program
from tests.studies import planted
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.task import Task


class TestScripted(ResearcherConformance):
    part = "scripted"


def test_stock_loop_changes_one_knob_and_keeps_what_is_better(cached: Trainer) -> None:
    played = play(cached, program(), 10)
    rows, head = {row["number"]: row for row in played.experiments}, 0
    assert len(rows) == 10 and played.result.kept > 0
    for number in range(1, 10):
        row = rows[number]
        assert len(row["edit"]["set"]) + len(row["edit"]["apply"]) == 1 and row["parent_number"] == head
        better = row["status"] == "ok" and row["metric"] < rows[head]["metric"]
        assert row["decision"] == ("keep" if better else "discard")
        head = number if better else head
    assert played.result.final.source_id == rows[head]["source_id"]
    assert (played.result.final_metric, played.result.baseline_metric) == (rows[head]["metric"], rows[0]["metric"])


def test_run_that_has_ended_is_charged_its_budget(trainer: Trainer) -> None:
    result = play(trainer, program(), 4.5).result
    assert (result.state, result.experiments, result.overshoot) == ("finished", 4, 0.0)
    assert [result.charged, result.forfeited] == pytest.approx([4.5 * FULL, 0.5 * FULL])
    assert 0 < result.experiment_wall_seconds <= result.wall_seconds


def test_measured_charges_add_up_to_the_budget(metered: Trainer) -> None:
    played = play(metered, program("focus: [optimizer]"), 5)
    result = played.result
    charged = sum(row["device_seconds_charged"] for row in played.experiments)
    assert charged + result.forfeited - result.overshoot == pytest.approx(result.charged)
    assert 0 < result.spent <= charged + 1e-9  # where it was kept waiting, it is charged a share of the wall time


def test_runs_of_one_seed_share_training_seeds_not_proposals(cached: Trainer) -> None:
    one, other = play(cached, program(), 6, run_id="ra"), play(cached, program(), 6, run_id="rb")
    assert [e["seed"] for e in one.experiments] == [e["seed"] for e in other.experiments]
    assert one.experiments[0]["metric"] == other.experiments[0]["metric"]
    assert [e["edit"] for e in one.experiments] != [e["edit"] for e in other.experiments]


def test_run_that_is_stopped_reports_what_was_charged(cached: Trainer) -> None:
    looks = iter(range(100))
    result = play(cached, program(), 8, should_stop=lambda: next(looks) >= 3).result
    assert (result.state, result.experiments, result.forfeited) == ("stopped", 3, 0.0)
    assert result.charged == pytest.approx(3 * FULL)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Of a simulated task, on which an experiment takes microseconds."""
    task = planted(tmp_path_factory.mktemp("law") / "planted", 5)
    return Trainer(task, DataStore(task, STREAMS_OF_TESTS, tmp_path_factory.mktemp("splits")), fixed_steps=True)


@pytest.mark.parametrize("name", names())
def test_run_of_every_starter_spends_its_budget(simulated: Trainer, name: str) -> None:
    full = simulated.task.steps * simulated.task.seconds_per_step
    played = play(simulated, starter(name), 12, full=full)
    fulls = sum(row["fraction"] for row in played.experiments)
    assert fulls == pytest.approx(12 - played.result.forfeited / full) and played.result.forfeited < 2 * full
    decided = [event["experiment_id"] for event in played.events if event["kind"] == "decision"]
    assert sorted(decided) == sorted(row["experiment_id"] for row in played.experiments)
    assert [row["number"] for row in played.experiments] == list(range(len(played.experiments)))


@contextmanager
def changed(trainer: Trainer, folder: Path, file: str, old: str, new: str) -> Iterator[Trainer]:
    """A trainer of the same task with another text in a file."""
    shutil.copytree(BLOBS, folder / "blobs", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "blobs" / file
    path.write_text(path.read_text().replace(old, new))
    task = Task.load(folder / "blobs")
    data = DataStore(task, STREAMS_OF_TESTS, folder / "splits")
    with Trainer(task, data, launcher=trainer.launcher, fixed_steps=True) as mine:
        yield mine


def test_task_that_fails_or_a_budget_too_small_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is too small for one experiment"):
        play(trainer, program(), 0.5)
    broken = changed(trainer, tmp_path, "train.py", 'FAULT = "none"', 'FAULT = "raise"')
    with broken as mine, pytest.raises(TaskError, match=r"the baseline ended as crash: .*this source is broken"):
        play(mine, program())


def test_metric_whose_higher_is_better_is_kept_higher(trainer: Trainer, tmp_path: Path) -> None:
    """The same losses read as a score: whatever made them larger is kept then."""
    with changed(trainer, tmp_path, "task.toml", '"lower"', '"higher"') as mine:
        played = play(mine, Program.parse("worse"), 5)
    metrics = [row["metric"] for row in played.decided("keep")]
    assert metrics and metrics == sorted(metrics)
    assert played.result.final_metric == max(row["metric"] or 0 for row in played.experiments)
