"""Gains of a script of one's own, with the noise of its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.verdict.gain_estimate import GainEstimate, gain_over_seeds
from arena.measuring import over_a_share, over_rows
from tests.inner_loop.play import BLOBS
from trainer.rows import UNKNOWN, held_back
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import RunSection

STREAMS, ROWS = Streams.from_seed(3), 1000


def own_task(n_rows: int, rows: str = "") -> Task:
    task = Task.load(BLOBS)
    scoring = {**task.scoring, "kind": "printed", "rows": rows, "n_rows": n_rows, "exact": False, "held_back": None}
    return replace(task, run=RunSection(command="python train.py"), scoring=scoring)  # type: ignore[arg-type]


def with_values(task: Task, streams: Streams, stream: str, worse: np.ndarray) -> GainEstimate:
    """All rows improve but the ``worse`` ones; nothing varies with seeds."""
    old, new = np.ones(ROWS), np.zeros(ROWS)
    new[worse] = 2.0
    seeds = gain_over_seeds([0.5, 0.5], [1.0, 1.0], UNKNOWN)
    return over_rows(task, streams, stream, seeds, [old, old], [new, new])  # type: ignore[arg-type]


def test_gain_that_decides_is_of_the_held_back_rows_alone() -> None:
    """And the one that chooses ignores them."""
    task = own_task(ROWS, "losses.csv")
    found = with_values(task, STREAMS, "confirmation", ~held_back(STREAMS, task.task_id, ROWS))
    assert (found.gain, found.held_rows) == (1.0, 300)
    mixed = with_values(task, STREAMS, "confirmation", np.arange(ROWS) < 400)
    assert mixed.noise == "rows" and mixed.low is not None and mixed.low > 0
    seeds = gain_over_seeds([0.5, 0.5], [1.0, 1.0], UNKNOWN)
    assert with_values(task, STREAMS, "selection", np.arange(400)) == seeds


def test_gain_over_few_rows_has_no_interval_of_rows() -> None:
    task = own_task(100, "losses.csv")
    seeds = gain_over_seeds([0.01, 0.01], [0.24, 0.24], UNKNOWN)
    old, new = np.zeros(100), np.zeros(100)
    old[0] = 1.0
    found = over_rows(task, STREAMS, "confirmation", seeds, [old], [new])
    assert found.noise == "" and found.low is None


def test_rows_held_back_stay_the_same_in_the_study_after() -> None:
    after = Streams(b"another secret..", held_secret=STREAMS.secret)
    assert (held_back(after, "t1", ROWS) == held_back(STREAMS, "t1", ROWS)).all()
    assert (held_back(after, "t1", ROWS) != held_back(Streams(after.secret), "t1", ROWS)).any()


def test_gain_of_a_share_needs_five_errors_and_the_luck_of_looks() -> None:
    task = own_task(100)
    seeds = gain_over_seeds([0.3, 0.3], [0.5, 0.5], UNKNOWN)
    assert over_a_share(task, seeds, [0.5, 0.2], looks=1).low is None
    many = over_a_share(own_task(1_000_000), seeds, [0.5, 0.2], looks=60)
    assert many.noise == "rows" and many.low is not None and many.low > 0


def test_gain_of_a_share_has_few_df_where_few_seeds_dominate() -> None:
    seeds = gain_over_seeds([0.30, 0.34, 0.32], [0.50, 0.51, 0.49], UNKNOWN)
    found = over_a_share(own_task(1_000_000), seeds, [0.5, 0.2], looks=1)
    assert found.noise == "seeds rows" and found.df == pytest.approx(seeds.df, rel=0.1)
