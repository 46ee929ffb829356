"""The stock loop, and what a run comes to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from programs.common.errors import TaskError, UsageError
from programs.program import Program
from programs.shelf import names, starter
from tests.conformance import ResearcherConformance
from tests.inner_loop.play import BLOBS, FULL, STREAMS_OF_TESTS, play, program
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.task import Task


class TestScripted(ResearcherConformance):
    part = "scripted"


def test_stock_loop_changes_one_knob_and_keeps_what_is_better(cached: Trainer) -> None:
    played = play(cached, program(), 10)
    rows = {row["number"]: row for row in played.experiments}
    head = 0
    assert len(rows) == 10
    for number in range(1, 10):
        row = rows[number]
        assert len(row["edit"]["set"]) + len(row["edit"]["apply"]) == 1
        assert row["parent_number"] == head
        better = row["status"] == "ok" and row["metric"] < rows[head]["metric"]
        assert row["decision"] == ("keep" if better else "discard")
        head = number if better else head
    assert played.result.final.source_id == rows[head]["source_id"]
    assert played.result.final_metric == rows[head]["metric"]
    assert played.result.baseline_metric == rows[0]["metric"]
    assert played.result.kept > 0


def test_a_finished_run_is_charged_exactly_its_budget(trainer: Trainer) -> None:
    result = play(trainer, program(), 4.5).result
    assert result.state == "finished"
    assert result.experiments == 4
    assert result.charged == pytest.approx(4.5 * FULL)
    assert result.forfeited == pytest.approx(0.5 * FULL)
    assert result.overshoot == 0.0
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


def test_events_come_in_order_with_one_decision_per_experiment(cached: Trainer) -> None:
    played = play(cached, program("wave: 3\nreplicates: 2"), 12)
    ids = [event["experiment_id"] for event in played.events if event["kind"] == "decision"]
    assert sorted(ids) == sorted(row["experiment_id"] for row in played.experiments)
    assert [row["number"] for row in played.experiments] == list(range(len(played.experiments)))


def test_a_stop_drains_and_reports_what_was_charged(cached: Trainer) -> None:
    calls: list[None] = []

    def after_three() -> bool:
        calls.append(None)
        return len(calls) > 3

    result = play(cached, program(), 8, should_stop=after_three).result
    assert (result.state, result.experiments) == ("stopped", 3)
    assert result.charged == pytest.approx(3 * FULL)
    assert result.forfeited == 0.0


@pytest.mark.parametrize("name", names())
def test_every_starter_spends_its_budget(cached: Trainer, name: str) -> None:
    played = play(cached, starter(name), 12)
    fulls = sum(row["fraction"] for row in played.experiments)
    assert fulls == pytest.approx(12 - played.result.forfeited / FULL)
    assert played.result.forfeited < 2 * FULL


def test_a_failing_baseline_is_an_error_of_the_task(trainer: Trainer, tmp_path: Path) -> None:
    broken = _blobs(tmp_path, 'FAULT = "none"', 'FAULT = "raise"')
    with (
        pytest.raises(TaskError, match=r"the baseline ended as crash: .*this source is broken"),
        Trainer(broken, _data(broken, tmp_path), launcher=trainer.launcher, fixed_steps=True) as mine,
    ):
        play(mine, program())


def test_a_budget_below_one_experiment_is_refused(trainer: Trainer) -> None:
    with pytest.raises(UsageError, match="is too small for one experiment"):
        play(trainer, program(), 0.5)


def test_higher_is_better_where_the_task_says_so(trainer: Trainer, tmp_path: Path) -> None:
    """The same losses read as a score: whatever made them larger is kept then."""
    upward = _blobs(tmp_path, "", "", direction="higher")
    with Trainer(upward, _data(upward, tmp_path), launcher=trainer.launcher, fixed_steps=True) as mine:
        played = play(mine, Program.parse("worse"), 8)
    metrics = [row["metric"] for row in played.decided("keep")]
    assert metrics == sorted(metrics)
    assert played.result.final_metric == max(row["metric"] or 0 for row in played.experiments)


def _blobs(tmp_path: Path, old: str, new: str, direction: str = "lower") -> Task:
    folder = tmp_path / "blobs"
    shutil.copytree(BLOBS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    train, toml = folder / "train.py", folder / "task.toml"
    train.write_text(train.read_text().replace(old, new) if old else train.read_text())
    toml.write_text(toml.read_text().replace('"lower"', f'"{direction}"'))
    return Task.load(folder)


def _data(task: Task, tmp_path: Path) -> DataStore:
    return DataStore(task, STREAMS_OF_TESTS, tmp_path / "splits")
