"""What the validation rows of a task can show, and which of them an experiment is scored on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from programs.common.errors import TaskError
from tests.trainer.foreign_repos import changed, command_task
from trainer.commands.noise_check import resolution
from trainer.data import scored_rows
from trainer.outcome import Outcome
from trainer.rows import RowStore, held_back
from trainer.streams import Streams
from trainer.task import Task

SCORE = 'kind = "printed"\n'


def task_with(folder: Path, score: str, run: str = "") -> Task:
    command_task(folder, {"train.py": "print('loss: 0.1')\n"}, run)
    return changed(folder, SCORE, SCORE + score)


def outcome(metric: float) -> Outcome:
    return Outcome("ok", metric, 1.0, 1.0, 1.0)


def test_resolution_of_a_share_is_the_unpaired_difference_of_two(tmp_path: Path) -> None:
    found = resolution(task_with(tmp_path, "n_rows = 100\n"), outcome(0.1))
    assert found is not None and found.step == 0.01 and found.rows == 100
    assert found.gain == pytest.approx(2.8 * math.sqrt(2 * 0.1 * 0.9 / 100))
    assert found.sentence("val_err") == (
        "the smallest step is 0.01; no change below 0.12 val_err can be seen with these 100 rows"
    )


def test_resolution_of_losses_has_the_rows_that_are_held_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(2.0, 1.0, 1000)
    task = task_with(tmp_path, 'rows = "losses.csv"\nn_rows = 1000\n')
    found = resolution(task, None, rows)
    assert found is not None and found.step is None and found.rows == 300
    assert found.gain == pytest.approx(2.8 * math.sqrt(2 / 300) * rows.std(ddof=1))
    assert resolution(task, outcome(2.0), None) is None


def test_resolution_is_none_where_the_task_says_nothing(tmp_path: Path) -> None:
    assert resolution(task_with(tmp_path, ""), outcome(0.1)) is None
    assert resolution(task_with(tmp_path, "exact = true\n"), outcome(41.0)) is None


def test_scored_rows_of_search_and_confirmation_share_none(tmp_path: Path) -> None:
    task, streams = task_with(tmp_path, 'rows = "losses.csv"\nn_rows = 1000\n'), Streams.from_seed(1)
    searched, confirmed = (scored_rows(task, streams, stream, 1000) for stream in ("search", "confirmation"))
    assert confirmed.sum() == 300 and not (searched & confirmed).any() and (searched | confirmed).all()
    assert (scored_rows(task, streams, "reserve", 1000) == held_back(streams, task.task_id, 1000)).all()
    assert (scored_rows(task, Streams.from_seed(2), "search", 1000) != searched).any()
    assert scored_rows(task, streams, "search", 299).all() and scored_rows(task, streams, "confirmation", 299).all()


@pytest.mark.parametrize(
    ("score", "run", "held"),
    [("held_back = 0.5\n", "", 500), ("held_back = 0.0\n", "", 0), ("", 'environment = { PART = "{split}" }', 0)],
)
def test_held_rows_follow_the_task(score: str, run: str, held: int, tmp_path: Path) -> None:
    task = task_with(tmp_path, f'rows = "losses.csv"\nn_rows = 1000\n{score}', run)
    assert task.held_rows(1000) == held == scored_rows(task, Streams.from_seed(1), "confirmation", 1000).sum() % 1000


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("n_rows = 0\n", "greater than or equal to 1"),
        ("exact = true\nn_rows = 5\n", "exact = true says that there are no rows"),
        ('exact = true\nrows = "a.csv"\nn_rows = 5\n', "exact = true says that there are no rows"),
        ('rows = "a.csv"\n', "rows needs n_rows"),
        ('rows = "a.parquet"\nn_rows = 5\n', "ends with .csv, .txt, .npy, .jsonl"),
        ('rows = "../a.csv"\nn_rows = 5\n', "in the task's folder"),
        ('rows = "train.py.csv"\nn_rows = 5\nheld_back = 1.0\n', "less than or equal to 0.9"),
        ("held_back = 0.3\n", "held_back needs rows"),
    ],
)
def test_a_contradiction_about_noise_is_refused_in_one_line(score: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        task_with(tmp_path, score)
    assert "\n" not in caught.value.message and "task.toml:" in caught.value.message


def test_an_exact_metric_takes_no_split(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="exact = true says that other data change nothing"):
        task_with(tmp_path, "exact = true\n", 'environment = { PART = "{split}" }')


def test_noise_without_a_command_is_refused(tmp_path: Path) -> None:
    folder = command_task(tmp_path, {"train.py": "print('loss: 0.1')\n"}).folder
    text = (folder / "task.toml").read_text().partition("[run]")[0].replace(SCORE, SCORE + "n_rows = 5\n")
    (folder / "task.toml").write_text(text)
    with pytest.raises(TaskError, match="n_rows needs a section \\[run\\]"):
        Task.load(folder)


def test_the_first_number_of_a_label_stays(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    assert store.known("a") is None
    assert (store.first("a", 3.5), store.first("a", 4.0), store.first("b", 4.0), store.known("a")) == (
        3.5,
        3.5,
        4.0,
        3.5,
    )
