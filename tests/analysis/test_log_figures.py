"""The figures of a log, by hand: its best row, its gain, and what to run next."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from analysis.imports.columns import Stated
from analysis.imports.runs import runs_of
from analysis.imports.table import log_of_text
from analysis.verdict.log_figures import LogFigures, figures_of
from tests.analysis.imports.samples import tsv

HEAD = "commit|val_loss|status|description"
Z = NormalDist().inv_cdf


def figures(*rows: str, noise: float | None = 0.1, head: str = HEAD, rows_of_data: int | None = None) -> LogFigures:
    [run] = runs_of(log_of_text(tsv(head, *rows)), Stated(noise=noise, rows=rows_of_data))
    return figures_of(run)


def test_gain_is_none_where_nothing_was_kept_after_the_first_row() -> None:
    nothing_kept = figures("a|2|keep|start", "b|3|discard|x")
    nothing_measured = figures("a|0|crash|x", head=HEAD.replace("val_loss", "val_bpb"))
    for found in (nothing_kept, nothing_measured):
        assert (found.gain, found.low, found.high, found.gain_after_luck) == (None,) * 4
    assert nothing_kept.best == 2 and nothing_measured.best is None


def test_best_row_is_one_that_was_better_when_it_was_kept() -> None:
    found = figures("a|2|keep|start", "b|1.5|keep|x", "c|1.8|keep|simpler", "d|1.4|keep|y")
    assert (found.best_line, found.gain, found.kept) == (5, pytest.approx(0.6), 3)
    assert figures("a|2|keep|start", "b|1.5|keep|x", "c|1.8|keep|simpler").best_line == 3


def test_next_is_the_best_row_else_the_largest_standardised_step() -> None:
    found = figures("a|2|keep|start", "b|1.8|keep|x", "c|1.79|keep|y")
    assert (found.next_line, found.next_before) == (4, 3)  # the best one, although its step is the smaller one
    found = figures("a|2|keep|start", "b|1.9|keep|x", "c|1.7|keep|y", "d|0.5|keep|z", "d|0.5|rerun|z")
    assert found.shown_lines == [5] and (found.next_line, found.next_before) == (4, 3)
    assert found.next_errors == pytest.approx(0.2 / (0.1 * math.sqrt(2)))
    # a step between more measurements has a smaller error
    found = figures("a|2|keep|start", *["a|2|rerun|start"] * 9, "b|1.85|keep|x", "c|1.68|keep|y", "d|0.5|keep|z")
    assert found.shown_lines == [14] and found.next_line == 12
    assert found.next_errors == pytest.approx(0.15 / (0.1 * math.sqrt(1 + 1 / 10)))


@pytest.mark.parametrize("repeated", [0, 1])
def test_next_runs_count_the_rows_that_were_measured_again(repeated: int) -> None:
    """As many tests as such rows, with half of the error; the row itself counts once."""
    found = figures("a|2|keep|start", "b|1.0|keep|x", *["b|1.0|rerun|x"] * repeated, "c|0.95|keep|y")
    needed = Z(1 - 0.05 / (2 * (1 + repeated))) * 0.1 / 0.05
    assert found.next_before == 3 and found.next_runs == math.ceil(2 * needed**2)


def test_next_without_noise_is_what_shows_it() -> None:
    found = figures("a|2|keep|start", "b|1|keep|x", noise=None)
    assert (found.next_line, found.next_runs, found.next_before) == (3, 3, None)
    exact = ("a|2|keep|start|h", "a|2|rerun|start|h", "b|1|keep|x|i")
    found = figures(*exact, noise=None, head=f"{HEAD}|script_hash")
    assert (found.next_line, found.next_runs, found.exact_repeats) == (None, None, 1)
    equal = figures("a|2|keep|start", "a|2|rerun|start", "b|1|keep|x", noise=None)  # deterministic without a hash
    assert (equal.next_line, equal.noise_sd, equal.noise_df) == (None, None, 1)


def test_next_rows_are_those_that_would_show_the_step() -> None:
    rows = ("a|.30|keep|start", "b|.29|keep|x", "c|.50|discard|y")
    found = figures(*rows, noise=None, head=HEAD.replace("val_loss", "val_err"), rows_of_data=400)
    assert found.rows_sd and found.next_rows
    errors = 0.01 / (math.sqrt(2) * found.rows_sd)
    assert found.next_rows == math.ceil(400 * (Z(1 - 0.05 / 2) / errors) ** 2)
