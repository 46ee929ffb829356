"""The mixed model against experiments of greedy runs whose truth is known: nothing works, or some edits do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from analysis.mixed_fit import Table, fit
from analysis.mixed_model import Answer
from analysis.statistics import bh

VALUES = 3  # of a knob


def greedy(
    effects: NDArray[np.float64], seed: int, *, runs: int = 24, tries: int = 12, noise: float = 0.02,
    meeting: float = 0.02, df: float | None = None,
) -> Table:  # fmt: skip
    """Runs that try one change at a time and keep what looks better. ``effects`` [knobs, VALUES]."""
    rng = np.random.default_rng(seed)
    outcome: list[float] = []
    block: list[int] = []
    marks: list[tuple[int, int]] = []

    for run in range(runs):
        own = effects + meeting * rng.standard_normal(effects.shape)

        def measured(config: dict[int, int], own: NDArray[np.float64] = own, run: int = run) -> float:
            luck = rng.standard_normal() if df is None else rng.standard_t(df) / np.sqrt(df / (df - 2))
            marks.extend((len(outcome), knob * VALUES + value) for knob, value in config.items())
            outcome.append(float(sum(own[at] for at in config.items()) + noise * luck))
            block.append(run)
            return outcome[-1]

        head: dict[int, int] = {}
        best = measured(head)
        for _ in range(tries):
            tried = head | {int(rng.integers(len(effects))): int(rng.integers(VALUES))}
            if tried != head and (found := measured(tried)) > best:
                head, best = tried, found
    n = len(outcome)
    rows, columns = np.array(marks).T
    held = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, effects.size))
    numbers = np.array(block)
    return Table(np.array(outcome), numbers, numbers, np.zeros(n, dtype=np.int64), held, csr_array((n, 1)))


def answers(table: Table) -> list[Answer]:
    fitted = fit(table)
    assert fitted is not None
    weights = np.zeros((table.width, len(fitted.mean)))
    weights[np.arange(table.width), fitted.levels + np.arange(table.width)] = 1.0
    return fitted.answers(weights)


@pytest.mark.parametrize("law", [{}, {"meeting": 0.06}, {"meeting": 0.0}, {"df": 3.0}])
def test_nothing_is_found_where_nothing_works(law: dict[str, float]) -> None:
    ps: list[float] = []
    for seed in range(5):
        found = answers(greedy(np.zeros((10, VALUES)), seed, **law))  # type: ignore[arg-type]
        own = [answer.p for answer in found if answer.p is not None]
        assert min(q for q in bh(own) if q is not None) > 0.05
        assert sum(a.low > 0.0 or a.high < 0.0 for a in found) <= 0.07 * len(found)
        ps += own
    assert 0.01 < np.mean(np.array(ps) < 0.05) < 0.09


def test_intervals_hold_planted_effects() -> None:
    outside, total, errors = 0, 0, []
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        effects = np.where(rng.random((10, VALUES)) < 0.4, rng.normal(0, 0.1, (10, VALUES)), 0.0)
        for answer, truth in zip(answers(greedy(effects, seed)), effects.ravel(), strict=True):
            outside, total = outside + (not answer.low <= truth <= answer.high), total + 1
            errors.append(answer.mean - truth)
    assert 0.02 <= outside / total <= 0.09
    assert abs(float(np.mean(errors))) < 0.01


def test_a_run_that_strays_alone_does_not_decide() -> None:
    """Three runs tried the edit, one saw a gain of 30 sd: no effect, however small the noise of all others is."""
    rng = np.random.default_rng(1)
    gains = {0: 0.6, 1: 0.0, 2: 0.0}
    outcome, block, rows = [], [], []
    for run in range(40):
        for edit in (False, True) if run in gains else (False, False):
            rows += [len(outcome)] * edit
            outcome.append(float(rng.normal(0, 0.02)) + (gains[run] if edit else 0.0))
            block.append(run)
    n, numbers = len(outcome), np.array(block)
    held = csr_array((np.ones(len(rows)), (rows, [0] * len(rows))), shape=(n, 1))
    [told] = answers(Table(np.array(outcome), numbers, numbers, np.zeros(n, dtype=np.int64), held, csr_array((n, 1))))
    assert told.p is not None and told.p > 0.05 and told.low < 0.0


def test_what_cannot_be_told_stays_unknown() -> None:
    """An edit that is only ever held with another one has the sum of both, and neither of the parts."""
    rng = np.random.default_rng(2)
    block = np.repeat(np.arange(12), 2)
    both = np.tile([0.0, 1.0], 12)
    table = Table(
        both * 0.5 + rng.normal(0, 0.02, 24), block, block, np.zeros(24, dtype=np.int64),
        csr_array(np.stack([both, both], axis=1)), csr_array((24, 1)),
    )  # fmt: skip
    first, second = answers(table)
    assert first.p is not None and first.p > 0.5 and first.sd > 0.1
    fitted = fit(table)
    assert fitted is not None
    weights, _ = fitted.weights([0, 1])
    [joint] = fitted.answers(weights[None, :])
    assert abs(joint.mean - 0.5) < 4 * 0.02 * (2 / 12) ** 0.5 and joint.sd < 0.05 and second.sd > 0.1


def test_equal_outcomes_and_too_few_have_no_model() -> None:
    short = np.zeros(4, dtype=np.int64)
    held = csr_array(np.eye(4))
    assert fit(Table(np.ones(4), np.arange(4), np.arange(4), short, held, csr_array((4, 1)))) is None
    few = csr_array(np.eye(2))
    assert fit(Table(np.array([0.0, 1.0]), short[:2], short[:2], short[:2], few, csr_array((2, 1)))) is None
