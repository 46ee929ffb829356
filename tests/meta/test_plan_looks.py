"""What a plan can show on a task with a command, before the start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from meta.kinds.cost import Work, looks_of
from meta.kinds.looks import PlannedLooks, planned_looks
from tests.trainer.foreign_repos import command_task
from trainer.cards import check_record
from trainer.cards.check_record import CheckFinding
from trainer.rows import held_rows
from trainer.task import Task

from .cli_study import cli, metaloop

near = pytest.approx
ROWS = 'rows = "losses.csv"\nn_rows = {}\n'


def task_of(folder: Path, score: str = "", **measured: float) -> Task:
    """A task whose last check measured this; ``score``: more lines of [score]."""
    made = command_task(folder / "repo", {"train.py": 'print("loss: 0.1")\n'}, metric="val_err")
    path = made.folder / "task.toml"
    path.write_text(path.read_text().replace("[score]\n", f"[score]\n{score}"))
    task = Task.load(made.folder)
    check_record.write(task, [CheckFinding("ok", "baseline", "", measured=measured)])
    return task


def looks_at(task: Task, looks: int = 96, seeds: int = 8) -> PlannedLooks:
    found = planned_looks(task, looks, seeds)
    assert found is not None
    return found


def test_looks_of_a_share_of_100_rows_are_the_noise_of_two_draws(tmp_path: Path) -> None:
    found = looks_at(task_of(tmp_path, "n_rows = 100\n", metric=0.1))
    se = math.sqrt(2 * 0.1 * 0.9 / 100)
    assert (found.rows, found.held_back, found.noise, found.looks) == (100, 0, "rows", 96)
    assert (found.step, found.resolvable) == (near(0.01), near(2.8 * se))
    assert found.luck == near(se * math.sqrt(2 * math.log(96)))


def test_looks_with_seeds_and_rows_have_both_noises(tmp_path: Path) -> None:
    found = looks_at(task_of(tmp_path, "n_rows = 400\n", metric=0.1, seed_sd=0.02))
    assert found.noise == "seeds rows"
    assert found.resolvable == near(2.8 * math.sqrt(2 * 0.09 / 400 + 2 * 0.02**2 / 8))
    assert found.luck == near(math.sqrt(2 * 0.09 / 400 + 2 * 0.02**2) * math.sqrt(2 * math.log(96)))


def test_looks_at_a_file_of_rows_are_at_those_not_held_back(tmp_path: Path) -> None:
    task = task_of(tmp_path, ROWS.format(1000), step=1 / 300, gain=0.07)
    found = looks_at(task)
    assert (found.rows, found.held_back, found.resolvable) == (1000, held_rows(1000), near(0.07))
    assert found.luck == near(0.07 / 2.8 * math.sqrt(300 / 700) * math.sqrt(2 * math.log(96)))


def test_looks_with_seeds_alone_are_have_no_rows(tmp_path: Path) -> None:
    found = looks_at(task_of(tmp_path, metric=0.1, seed_sd=0.02), looks=20, seeds=2)
    assert (found.rows, found.step, found.noise, found.resolvable) == (None, None, "seeds", near(2.8 * 0.02))


def test_looks_without_a_check_are_not_known_and_promise_no_gain(tmp_path: Path) -> None:
    for score, known in (("n_rows = 100\n", {}), (ROWS.format(1000), {"metric": 0.1, "seed_sd": 0.02}), ("", {})):
        found = looks_at(task_of(tmp_path, score, **known))
        assert (found.resolvable, found.luck, found.step) == (None, None, None)


def test_looks_are_left_out_where_the_metric_has_all_noise(tmp_path: Path) -> None:
    assert planned_looks(task_of(tmp_path, "exact = true\n", metric=1.0), 96, 8) is None
    assert planned_looks(Task.load("strokes"), 96, 8) is None


def test_looks_count_experiments_of_all_runs_and_the_last_search(tmp_path: Path) -> None:
    task = task_of(tmp_path, "n_rows = 100\n", metric=0.1)
    works = [Work(task.name, "", 3, 16, 1.0, 1.0), Work(task.name, "held out", 5, 16, 1.0, 1.0)]
    [found] = looks_of([task, Task.load("strokes")], works, 8, harvest=4)
    assert found.looks == 3 * 16 + 4


@pytest.mark.parametrize("command", ["improve", "match", "ablate"])
def test_dry_run_of_a_command_task_names_the_visible_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")  # a plan that could not be carried out is refused
    task = task_of(tmp_path, "n_rows = 100\n", metric=0.1)
    program = tmp_path / "mine.md"
    program.write_text("---\nmetaloop: {proposers: {queue: 1.0}}\n---\n# Mine\n\n## Ideas\n\n- One `lr=0.1`.\n")
    words: tuple[Any, ...] = (command, program, "-t", task.folder, "--dry-run", "--no-sandbox")
    words += ("-m", "openai/x") if command != "ablate" else ()
    done = cli(*words, "--json", cwd=tmp_path)
    if done.returncode:
        pytest.fail(done.stderr)
    [looks] = done.json["looks"]
    assert (looks["task"], looks["rows"], looks["step"]) == (task.name, 100, 0.01)
    assert looks["looks"] >= done.json["experiments"] and looks["resolvable"] == near(2.8 * math.sqrt(0.0018), abs=1e-6)
    assert f"resolvable\t{looks['resolvable']}" in metaloop(*words, cwd=tmp_path).stdout
    if command != "ablate":
        assert "which are all measured on the same validation rows" in done.json["power"]
