"""What a log decides: the gate, its planned looks and error rate; its best row, its gain and what to run next."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from analysis.imports.columns import Stated
from analysis.imports.noise import MeasurementNoise, pooled
from analysis.imports.runs import ImportedRun, runs_of
from analysis.imports.table import log_of_text
from analysis.verdict.gate import DISCARD, KEEP, LOOKS, UNDECIDED, Decision, decide, decide_last
from analysis.verdict.log_figures import LogFigures, figures_of
from tests.analysis.imports.samples import tsv

KNOWN = MeasurementNoise(1.0)
ONE = math.sqrt(2)  # the standard error of one measurement of each
Z = NormalDist().inv_cdf


def run_of(*rows: str, **stated: Any) -> ImportedRun:
    [run] = runs_of(log_of_text(tsv(*rows)), Stated(**stated))
    return run


@pytest.mark.parametrize(
    ("gain", "runs", "best_runs", "decision", "more"),
    [
        (2.51 * ONE, 1, 1, KEEP, (0, 0)),
        (2.49 * ONE, 1, 1, UNDECIDED, (2, 1)),
        (2.49 * ONE, 1, 3, KEEP, (0, 0)),  # more is known of the best one
        (0.01, 1, 2, UNDECIDED, (2, 0)),
        (-0.01, 1, 1, DISCARD, (0, 0)),
        (9.0, 2, 2, UNDECIDED, (1, 0)),  # between two looks
        (9.0, 3, 1, UNDECIDED, (0, 1)),
        (2.01 * math.sqrt(1 / 3 + 1 / 2), 3, 2, KEEP, (0, 0)),
        (1.99 * math.sqrt(1 / 3 + 1 / 2), 3, 2, UNDECIDED, (3, 2)),
        (0.79 * math.sqrt(1 / 3 + 1 / 2), 3, 2, DISCARD, (0, 0)),
        (1.81 * math.sqrt(1 / 6 + 1 / 4), 6, 4, KEEP, (0, 0)),
        (1.79 * math.sqrt(1 / 6 + 1 / 4), 6, 4, DISCARD, (0, 0)),
        (1.79 * math.sqrt(1 / 9 + 1 / 9), 9, 9, DISCARD, (0, 0)),
    ],
)
def test_gate_decides_at_planned_looks_alone(
    gain: float, runs: int, best_runs: int, decision: str, more: tuple[int, int]
) -> None:
    found = decide(KNOWN, gain, runs, best_runs)
    assert (found.decision, found.reason) == (decision, "looks")
    assert (found.more_runs, found.more_best_runs) == more
    assert found.standard_errors == pytest.approx(gain / math.sqrt(1 / runs + 1 / best_runs))
    assert found.resolvable == pytest.approx(2.8 * math.sqrt(1 / 6 + 1 / 4))


def test_gate_of_rows_needs_one_standard_error_of_the_rows() -> None:
    rows = MeasurementNoise(n_rows=100, rows_sd=0.04)
    for gain, decision in ((1.01, KEEP), (0.99, DISCARD)):
        found = decide(rows, gain * ONE * 0.04, 1, 1)
        assert (found.decision, found.reason, found.more_runs) == (decision, "rows", 0)
    both = MeasurementNoise(0.001, n_rows=100, rows_sd=0.04)
    assert decide(both, 1.01 * ONE * 0.04, 1, 1).decision == KEEP
    assert (found := decide(both, 0.02, 6, 4)).decision == DISCARD and found.reason == "rows"
    assert decide(both, 0.02, 1, 1).decision == UNDECIDED and decide(both, -0.02, 1, 1).decision == DISCARD


TIMES = 4000
MOST = 0.05 + 2 * math.sqrt(0.05 * 0.95 / TIMES)


def rate(gain: float, estimate: Callable[[np.random.Generator], MeasurementNoise], times: int = TIMES) -> float:
    """How often a change with this effect, in SD of one measurement, is kept."""
    rng, kept = np.random.default_rng(5), 0
    for _ in range(times):
        new, best, noise = rng.normal(gain, 1, 6), rng.normal(0, 1, 4), estimate(rng)
        for look in LOOKS:
            n, m = look.runs, look.best_runs
            found = decide(noise, float(new[:n].mean() - best[:m].mean()), n, m)
            if found.decision != UNDECIDED:
                break
        kept += found.decision == KEEP
    return kept / times


def test_gate_keeps_few_null_changes_and_most_real_ones() -> None:
    assert rate(0.0, lambda _: KNOWN) <= MOST
    assert rate(2.0, lambda _: KNOWN, 500) > 0.8 and rate(3.0, lambda _: KNOWN, 500) > 0.95
    assert rate(0.0, lambda rng: pooled([list(rng.normal(0, 1, 4))])) <= MOST


HEAD = "commit|val_loss|status|description"
MEASURED = (HEAD, "a|2.00|keep|baseline", "a|2.02|rerun|baseline", "a|1.98|rerun|baseline")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("b|1.5||wider",), Decision(KEEP, "looks", 5, 2)),
        (("b|2.5||wider",), Decision(DISCARD, "looks", 5, 2)),
        (("b|1.96||wider",), Decision(UNDECIDED, "looks", 5, 2, more_runs=2)),
        (("b|1.96||wider", "b|1.96||wider"), Decision(UNDECIDED, "looks", 5, 2, more_runs=1)),
        (("b|1.7|keep|wider", "c|1.9||deeper"), Decision(DISCARD, "looks", 6, 5)),
        (("b|0.0|crash|wider",), Decision(DISCARD, "failed", 5)),
    ],
)
def test_gate_of_a_log_decides_on_its_last_change(rows: tuple[str, ...], expected: Decision) -> None:
    found = decide_last(run_of(*MEASURED, *rows))
    names = ("decision", "reason", "line", "best_line", "more_runs", "more_best_runs")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


def test_gate_without_noise_names_the_runs_that_show_it() -> None:
    def last(*rows: str, **stated: int) -> Decision:
        return decide_last(run_of(*rows, **stated))

    head = "script_hash|val_err|status|what"
    found = last(head, "x|.30|keep|baseline", "y|.20||wider")
    assert (found.decision, found.reason, found.more_best_runs) == (UNDECIDED, "unknown", 3)
    exact = (head, "x|.30|keep|baseline", "x|.30|rerun|baseline", "y|.20||wider")
    assert (found := last(*exact)).reason == "exact" and found.more_best_runs == 0
    assert last(*exact, rows=400).decision == KEEP and last(*exact, rows=20).decision == DISCARD
    assert last(head, "x|.30|keep|baseline").reason == "first"


def figures(*rows: str, noise: float | None = 0.1, head: str = HEAD, **stated: int) -> LogFigures:
    return figures_of(run_of(head, *rows, noise=noise, **stated))


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
    found = figures(*rows, noise=None, head=HEAD.replace("val_loss", "val_err"), rows=400)
    assert found.rows_sd and found.next_rows
    errors = 0.01 / (math.sqrt(2) * found.rows_sd)
    assert found.next_rows == math.ceil(400 * (Z(1 - 0.05 / 2) / errors) ** 2)
