"""The mixed model against experiments of greedy runs whose truth is known: nothing works, or some edits do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from analysis.effects.mixed_model import (
    ExperimentTable,
    Variances,
    design,
    estimated,
    fit,
    solved,
)
from analysis.statistics import POOLED_DF, Estimate, bh

VALUES = 3  # of a knob
Floats = NDArray[np.float64]


def greedy(
    effects: NDArray[np.float64], seed: int, *, runs: int = 24, tries: int = 12, noise: float = 0.02,
    meeting: float = 0.02, df: float | None = None,
) -> ExperimentTable:  # fmt: skip
    """Runs that try one change at a time and keep what looks better. ``effects`` [knobs, VALUES]."""
    rng = np.random.default_rng(seed)
    outcome: list[float] = []
    block: list[int] = []
    tried: list[list[int]] = []

    for run in range(runs):
        own = effects + meeting * rng.standard_normal(effects.shape)

        def measured(config: dict[int, int], own: NDArray[np.float64] = own, run: int = run) -> float:
            luck = rng.standard_normal() if df is None else rng.standard_t(df) / np.sqrt(df / (df - 2))
            tried.append([knob * VALUES + value for knob, value in config.items()])
            outcome.append(float(sum(own[at] for at in config.items()) + noise * luck))
            block.append(run)
            return outcome[-1]

        head: dict[int, int] = {}
        best = measured(head)
        for _ in range(tries):
            config = head | {int(rng.integers(len(effects))): int(rng.integers(VALUES))}
            if config != head and (found := measured(config)) > best:
                head, best = config, found
    return table_of(outcome, block, held_by(tried, effects.size))


def held_by(edits: Sequence[Sequence[int]], width: int) -> csr_array:
    """Which edits each experiment holds, as the model has it: [experiments, width]."""
    rows, columns = np.array([(at, edit) for at, held in enumerate(edits) for edit in held]).T
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(edits), width))


def table_of(outcome: Sequence[float], block: Sequence[int], held: csr_array, short: Sequence[int] = (),
             source: Sequence[int] = ()) -> ExperimentTable:  # fmt: skip
    """A run for each seed; unless told, full trainings of sources that are all different."""
    n, numbers = len(outcome), np.array(block)
    how = np.array(short or [0] * n), np.array(source or range(n))
    return ExperimentTable(np.array(outcome), numbers, *how, held, held.shape[1])


def answers(table: ExperimentTable) -> list[Estimate]:
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
        own = [p for answer in found if (p := answer.p()) is not None]
        assert min(q for q in bh(own) if q is not None) > 0.05
        assert sum(not a.low <= 0.0 <= a.high for a in found) <= 0.07 * len(found)
        assert all((a.p() < 0.05) == (not a.low <= 0.0 <= a.high) for a in found)
        ps += own
    assert np.mean(np.array(ps) < 0.05) < 0.09


def test_intervals_hold_planted_effects() -> None:
    outside, total, errors = 0, 0, []
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        effects = np.where(rng.random((10, VALUES)) < 0.4, rng.normal(0, 0.1, (10, VALUES)), 0.0)
        for answer, truth in zip(answers(greedy(effects, seed)), effects.ravel(), strict=True):
            outside, total = outside + (not answer.low <= truth <= answer.high), total + 1
            errors.append(answer.value - truth)
    assert 0.02 <= outside / total <= 0.09
    assert abs(float(np.mean(errors))) < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_strays_alone_does_not_decide(seed: int) -> None:
    """Three runs tried the edit, one saw a gain of 30 sd; six edits that all runs tried say how small the noise is."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, int, list[int]]] = []
    for run in range(40):
        tried = [[], *([edit] for edit in range(1, 7)), *([[0]] if run < 3 else [])]
        rows += [(rng.normal(0, 0.02) + 0.6 * (run == 0 and 0 in held), run, held) for held in tried]
    outcome, block, held = zip(*rows, strict=True)
    told = answers(table_of(outcome, block, held_by(held, 7)))[0]
    assert told.p() > 0.01 and told.low < 0.0


def test_what_cannot_be_told_stays_unknown() -> None:
    """An edit that is only ever held with another one has the sum of both, and neither of the parts."""
    rng = np.random.default_rng(2)
    both = np.tile([0.0, 1.0], 12)
    outcome = (both * 0.5 + rng.normal(0, 0.02, 24)).tolist()
    table = table_of(outcome, [seed for seed in range(12) for _ in range(2)], csr_array(np.stack([both, both], axis=1)))
    first, second = answers(table)
    assert first.p() > 0.1 and first.low < 0.0 < first.high and first.se > 0.1
    fitted = fit(table)
    assert fitted is not None
    weights, _ = fitted.weights([0, 1])
    [joint] = fitted.answers(weights[None, :])
    assert abs(joint.value - 0.5) < 4 * 0.02 * (2 / 12) ** 0.5 and joint.se < 0.05 and second.se > 0.1


def test_equal_outcomes_and_too_few_have_no_model() -> None:
    assert fit(table_of([1.0] * 4, range(4), csr_array(np.eye(4)))) is None
    assert fit(table_of([0.0, 1.0], [0, 0], csr_array(np.eye(2)))) is None


def test_edits_have_no_effect_where_only_short_trainings_differ() -> None:
    """No noise is left, and the rounding of large numbers is no effect either."""
    table = table_of([1e9] * 3 + [7e8] * 3, [0, 1, 2] * 2, csr_array(np.eye(6)), [0] * 3 + [1] * 3)
    assert min(answer.p() for answer in answers(table)) > 0.9
    fitted = fit(table)
    assert fitted is not None and fitted.weights([0, 1], [2])[1] == 3  # pairs that no experiment had


def shortened(seed: int) -> ExperimentTable:
    """No edit does anything. Each is trained in full under four seeds; twelve bundles of three are trained in full
    once and shortened under ten seeds, and what a bundle tells when shortened is off by sd 0.2 under each of them."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, int, int, int, list[int]]] = []
    for run in range(12):
        rows += [(rng.normal(0, 0.02), run, 0, edit, [edit]) for edit in range(10) if (edit + run) % 3 == 0]
    for bundle in range(12):
        held, off = rng.choice(10, 3, replace=False).tolist(), rng.normal(0, 0.2)
        rows.append((rng.normal(0, 0.02), bundle, 0, 10 + bundle, held))
        rows += [(off + rng.normal(0, 0.02), block, 1, 10 + bundle, held) for block in range(10)]
    outcome, block, short, source, held = zip(*rows, strict=True)
    return table_of(outcome, block, held_by(held, 10), short, source)


def test_source_when_shortened_is_not_averaged_over_seeds() -> None:
    outside, total = 0, 0
    for seed in range(6):
        table = shortened(seed)
        fitted = fit(table)
        assert fitted is not None
        bundles = np.unique(table.held.toarray()[table.source >= 10], axis=0)
        weights = np.stack([fitted.weights(np.flatnonzero(held).tolist())[0] for held in bundles])
        found = fitted.answers(weights)
        outside, total = outside + sum(not a.low <= 0.0 <= a.high for a in found), total + len(found)
    assert outside <= 0.1 * total


def dense(table: ExperimentTable, of: Variances) -> tuple[Floats, Floats, Floats]:
    """(x [rows, columns], y, covariance [rows, rows] of the rows given the columns' effects, over the noise)."""
    columns, blocks = design(table)
    n, noise = len(table.outcome), np.where(table.short > 0, of.short_noise, 1.0)
    x, y, within = np.zeros((n, len(columns.kind))), np.zeros(n), np.diag(noise)
    for block in blocks:
        x[np.ix_(block.rows, block.at)], y[block.rows] = block.x, block.y
        held = table.held[block.rows].toarray()
        within[np.ix_(block.rows, block.rows)] += of.seed + of.seed_edit * held @ held.T
    return x, y, within


def restricted(table: ExperimentTable, of: Variances) -> tuple[Floats, float]:
    """(the inverse of the marginal covariance without what the levels take up, log determinants of the likelihood)."""
    x, _, within = dense(table, of)
    kind = design(table)[0].kind
    level, random = kind == "", kind != ""
    v = within + x[:, random] * design(table)[0].prior(of)[random] @ x[:, random].T
    inverse, z = np.linalg.inv(v), x[:, level]
    middle = z.T @ inverse @ z
    p = inverse - inverse @ z @ np.linalg.inv(middle) @ z.T @ inverse
    return p, float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(middle)[1])


def penalised(table: ExperimentTable, of: Variances) -> float:
    """-2 log restricted likelihood of all rows as one dense matrix, with one factor SD for each variance but the noise
    of short trainings."""
    y, (p, determinants) = dense(table, of)[1], restricted(table, of)
    freedom = len(y) - design(table)[0].levels
    likelihood = determinants + freedom * np.log(y @ p @ y)
    return float(likelihood) - sum(np.log(value) for name, value in vars(of).items() if name != "short_noise")


def test_the_variances_maximise_the_restricted_likelihood() -> None:
    table = shortened(0)
    found = estimated(*design(table))
    least = penalised(table, found)
    for name, value in vars(found).items():
        for factor in (0.8, 1.25):
            assert penalised(table, replace(found, **{name: value * factor})) > least, name


def crowded(seed: int, seeds: int, rows: int) -> ExperimentTable:
    """No edit does anything on average: under each training seed it is off by three SD of a training. ``rows``: of a
    seed, each with one of 12 edits."""
    rng = np.random.default_rng(seed)
    block, edit = np.repeat(np.arange(seeds), rows), rng.integers(12, size=seeds * rows)
    outcome = rng.normal(0, 0.06, (seeds, 12))[block, edit] + rng.normal(0, 0.02, seeds * rows)
    return table_of(outcome.tolist(), block.tolist(), held_by(edit[:, None].tolist(), 12))


def test_intervals_where_a_seed_has_many_rows_contain_the_truth() -> None:
    """More runs under the same training seeds do not average out what a seed does with an edit."""
    every = [answer for seed in range(10) for answer in answers(crowded(seed, seeds=6, rows=500))]
    assert sum(not answer.low <= 0.0 <= answer.high for answer in every) <= 0.09 * len(every)


@pytest.mark.parametrize("table", [shortened(0), crowded(0, 1, 600)], ids=["short trainings", "one large seed"])
def test_the_posterior_of_blocks_is_that_of_one_dense_matrix(table: ExperimentTable) -> None:
    of = Variances()
    columns, blocks = design(table)
    fitted, (x, y, within), (p, _) = solved(columns, blocks, of), dense(table, of), restricted(table, of)
    inverse = np.linalg.inv(within)
    spread = np.linalg.inv(x.T @ inverse @ x + np.diag(1.0 / columns.prior(of)))
    assert fitted.mean == pytest.approx(spread @ x.T @ inverse @ y, abs=1e-9)
    assert fitted.covariance == pytest.approx(spread * fitted.noise, abs=1e-12)
    by_seed = [spread @ x[table.seed == seed].T for seed in np.unique(table.seed)]
    found = [(own @ (p @ y)[table.seed == seed]) ** 2 for seed, own in enumerate(by_seed)]
    expected = np.array([np.diag(own @ p[np.ix_(rows, rows)] @ own.T) for seed, own in enumerate(by_seed)
                         for rows in [np.flatnonzero(table.seed == seed)]])  # fmt: skip
    count = expected.sum(axis=0) ** 2 / (expected**2).sum(axis=0)
    ratio = (POOLED_DF + count * sum(found) / fitted.noise / expected.sum(axis=0)) / (POOLED_DF + count)
    told = fitted.answers(np.eye(len(columns.kind)))
    assert [answer.df for answer in told] == pytest.approx(POOLED_DF + count, rel=1e-6)
    assert [answer.se for answer in told] == pytest.approx(np.sqrt(np.diag(fitted.covariance) * ratio), rel=1e-6)
