"""The gate: its planned looks, what each kind of noise lets it decide, and its error rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from analysis.imports.columns import Stated
from analysis.imports.noise import MeasurementNoise, pooled
from analysis.imports.runs import runs_of
from analysis.imports.table import log_of_text
from analysis.verdict.gate import DISCARD, KEEP, LOOKS, UNDECIDED, Decision, decide, decide_last
from tests.analysis.imports.samples import tsv

KNOWN = MeasurementNoise(1.0)
ONE = math.sqrt(2)  # the standard error of one measurement of each


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


def rate(gain: float, estimate: Callable[[np.random.Generator], MeasurementNoise], times: int = 4000) -> float:
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
    assert rate(0.0, lambda _: KNOWN) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)
    assert rate(2.0, lambda _: KNOWN) > 0.8 and rate(3.0, lambda _: KNOWN) > 0.95
    assert rate(0.0, lambda rng: pooled([list(rng.normal(0, 1, 4))])) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)


HEAD = ("commit|val_loss|status|description", "a|2.00|keep|baseline", "a|2.02|rerun|baseline", "a|1.98|rerun|baseline")


@pytest.mark.parametrize(
    ("rows", "stated", "expected"),
    [
        (("b|1.5||wider",), Stated(), Decision(KEEP, "looks", 5, 2)),
        (("b|2.5||wider",), Stated(), Decision(DISCARD, "looks", 5, 2)),
        (("b|1.96||wider",), Stated(), Decision(UNDECIDED, "looks", 5, 2, more_runs=2)),
        (("b|1.96||wider", "b|1.96||wider"), Stated(), Decision(UNDECIDED, "looks", 5, 2, more_runs=1)),
        (("b|1.7|keep|wider", "c|1.9||deeper"), Stated(), Decision(DISCARD, "looks", 6, 5)),
        (("b|0.0|crash|wider",), Stated(), Decision(DISCARD, "failed", 5)),
    ],
)  # fmt: skip
def test_gate_of_a_log_decides_on_its_last_change(rows: tuple[str, ...], stated: Stated, expected: Decision) -> None:
    [run] = runs_of(log_of_text(tsv(*HEAD, *rows)), stated)
    found = decide_last(run)
    names = ("decision", "reason", "line", "best_line", "more_runs", "more_best_runs")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


def test_gate_without_noise_names_the_runs_that_show_it() -> None:
    def last(*rows: str, rows_of_data: int | None = None) -> Decision:
        [run] = runs_of(log_of_text(tsv(*rows)), Stated(rows=rows_of_data))
        return decide_last(run)

    head = "script_hash|val_err|status|what"
    found = last(head, "x|.30|keep|baseline", "y|.20||wider")
    assert (found.decision, found.reason, found.more_best_runs) == (UNDECIDED, "unknown", 3)
    exact = (head, "x|.30|keep|baseline", "x|.30|rerun|baseline", "y|.20||wider")
    assert (found := last(*exact)).reason == "exact" and found.more_best_runs == 0
    assert last(*exact, rows_of_data=400).decision == KEEP and last(*exact, rows_of_data=20).decision == DISCARD
    assert last(head, "x|.30|keep|baseline").reason == "first"
