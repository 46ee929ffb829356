"""What validation rows can show: which of them an experiment is scored on, their resolution, and luck."""

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
from trainer.rows import RowStore, held_back, luck_test, paired
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


def test_noise_that_the_command_contradicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="exact = true says that other data change nothing"):
        task_with(tmp_path, "exact = true\n", 'environment = { PART = "{split}" }')
    folder = command_task(tmp_path, {"train.py": "print('loss: 0.1')\n"}).folder
    text = (folder / "task.toml").read_text().partition("[run]")[0].replace(SCORE, SCORE + "n_rows = 5\n")
    (folder / "task.toml").write_text(text)
    with pytest.raises(TaskError, match="n_rows needs a section \\[run\\]"):
        Task.load(folder)


def test_the_first_number_of_a_label_stays(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    assert store.known("a") is None
    assert [store.first("a", 3.5), store.first("a", 4.0), store.first("b", 4.0), store.known("a")] == [3.5, 3.5, 4, 3.5]


ROWS, ERROR, TRIES, NIGHTS = 100, 0.2, 60, 60


def night_without_effect(seed: int, least: float) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Gains in the rows of each try, the untouched script's values and the sum of the kept gains: each try draws a
    tenth of the answers anew, and all scripts are wrong in a fifth of all rows that there are."""
    rng = np.random.default_rng(seed)
    main = untouched = (rng.random(ROWS) < ERROR).astype(float)
    tries = []
    for _ in range(TRIES):
        new = np.where(rng.random(ROWS) < 0.1, rng.random(ROWS) < ERROR, main).astype(float)
        found = paired(1.0, [main], [new])
        tries.append(main - new)
        if found.value > 0 and found.value >= least * (found.se or 0.0):
            main = new
    return tries, untouched, float((untouched - main).mean())


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_luck_test_without_effects_names_what_luck_shows(least: float) -> None:
    """It is calibrated where nothing helps: its luck is what such nights show on average."""
    nights = [night_without_effect(seed, least) for seed in range(NIGHTS)]
    found = [luck_test(tries, untouched, kept, 7, least) for tries, untouched, kept in nights]
    shown = np.mean([kept for _, _, kept in nights])
    assert np.mean([luck.gain for luck in found]) == pytest.approx(shown, rel=0.25)
    assert np.mean([luck.p <= 0.05 for luck in found]) <= 0.15


def test_luck_test_of_a_real_gain_is_not_luck() -> None:
    tries, untouched, kept = night_without_effect(1, 1.0)
    assert luck_test(tries, untouched, kept + 0.1, 7).p < 0.025
