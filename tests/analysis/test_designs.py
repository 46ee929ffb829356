"""Two-level designs: orthogonal, prolonged without being changed, and right about planted effects. Robust least
squares: the textbook's tests where they are special cases."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.effects.designs import FactorialDesign, estimate, hadamard, least_squares, order_of, plan
from analysis.statistics import welch_difference

FACTORS = tuple(f"d{i}" for i in range(11))


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 60, 76])
def test_hadamard_matrices_are_orthogonal_and_normalised(order: int) -> None:
    matrix = hadamard(order).astype(int)
    assert set(np.unique(matrix)) <= {-1, 1}
    assert (matrix @ matrix.T == order * np.eye(order)).all()
    assert (matrix[0] == 1).all() and (matrix[:, 0] == 1).all()


def test_orders_that_are_not_known_are_passed_over() -> None:
    assert [order_of(n) for n in (1, 2, 3, 4, 11, 12, 20, 48)] == [2, 4, 4, 8, 12, 16, 24, 56]
    unsupported = []
    for order in range(4, 120, 4):
        try:
            assert len(hadamard(order)) == order
        except ValueError:
            unsupported.append(order)
    assert unsupported == [52, 92, 100, 116]
    with pytest.raises(ValueError, match="1 to 500"):
        order_of(501)


def test_block_is_balanced_and_the_mirror_clears_interactions() -> None:
    design = plan(FACTORS, 50, 1)
    assert (design.order, design.blocks, design.runs, design.clear) == (12, 4, 48, True)
    assert [count for _, count in design.arms] == [2] * 24 and design.se == pytest.approx(0.2887, abs=1e-4)
    for rows in (design.plain, design.mirror):
        assert (np.array(rows).sum(axis=0) == 6).all()
    signs = 2 * np.array(design.plain + design.mirror) - 1
    assert (signs.T @ signs == 24 * np.eye(11)).all()
    pairs = [signs[:, i] * signs[:, j] for i in range(11) for j in range(i)]
    assert all((signs.T @ pair == 0).all() for pair in pairs)


def test_more_runs_continue_a_design_and_too_few_are_refused() -> None:
    small, large = plan(FACTORS, 24, 7), plan(FACTORS, 60, 7)
    assert small.plain == large.plain != plan(FACTORS, 24, 8).plain
    assert large.blocks == 5 and [count for _, count in large.arms] == [3] * 12 + [2] * 12 and not large.clear
    seeds = [k // 2 for k in range(large.blocks) for _ in range(large.order)]  # every two blocks share one
    found = estimate(*gains(large, np.zeros(11), np.random.default_rng(1)), seeds)[0]
    assert found is not None and found.df == pytest.approx(large.df, rel=0.02) and large.df == 60 - 3 - 11
    with pytest.raises(ValueError, match="11 factors need at least two blocks of 12 runs"):
        plan(FACTORS, 23, 7)


def test_programs_are_counted_once_where_the_mirror_repeats_them() -> None:
    designs = [plan(FACTORS[:n], 32, 1) for n in (1, 2, 3)]
    assert [(design.programs, len(design.arms)) for design in designs] == [(2, 4), (4, 8), (8, 8)]


def gains(
    design: FactorialDesign, effects: np.ndarray, rng: np.random.Generator
) -> tuple[list[list[bool]], list[float]]:
    held = [list(row) for k in range(design.blocks) for row in (design.mirror if k % 2 else design.plain)]
    drift = np.repeat(rng.normal(0, 3, design.blocks), design.order)
    return held, list(np.array(held) @ effects + drift + rng.standard_normal(design.runs))


def test_planted_effects_have_the_promised_error_and_coverage() -> None:
    rng = np.random.default_rng(2)
    effects = np.array([1.0, 0.9, 0.8, 0.4, 0.3, 0.2, 0, 0, 0, 0, 0])
    design, errors, inside = plan(FACTORS, 48, 3), [], []
    blocks = [k for k in range(design.blocks) for _ in range(design.order)]
    for _ in range(100):
        for truth, found in zip(effects, estimate(*gains(design, effects, rng), blocks), strict=True):
            assert found is not None and found.se is not None and found.df == pytest.approx(33)
            errors.append(found.or_zero - truth)
            inside.append((found.low or 0) <= truth <= (found.high or 0))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(design.se, rel=0.06)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_factors_that_fall_together_have_no_effect_of_their_own() -> None:
    held = [[True, True, False], [False, False, True], [True, True, True], [False, False, False]] * 3
    rng = np.random.default_rng(4)
    found = estimate(held, [float(row[2]) + rng.normal(0, 0.1) for row in held], [0] * 12)
    assert found[0] is None and found[1] is None
    assert found[2] is not None and found[2].value == pytest.approx(1.0, abs=0.2)
    saturated = estimate([[True], [False]], [1.0, 0.0], [0, 0])[0]
    assert saturated is not None and saturated.value == 1.0 and saturated.se is None


def test_one_child_beside_its_parent_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    y, block = rng.standard_normal(16), np.repeat(np.arange(8), 2)
    x = np.tile([0.0, 1.0], 8)[:, None]
    differences = y[1::2] - y[::2]
    found = least_squares(x, y, block, np.arange(16))[0]
    assert found is not None and found.value == pytest.approx(differences.mean())
    assert found.se == pytest.approx(differences.std(ddof=1) / np.sqrt(8))


def test_two_groups_have_the_error_of_welch() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 2, 7), rng.normal(0, 1, 5)
    [found] = estimate([[True]] * 7 + [[False]] * 5, [*a.tolist(), *b.tolist()], [0] * 12)
    welch = welch_difference(a.tolist(), b.tolist())
    assert found is not None and (found.value, found.se) == pytest.approx((welch.value, welch.se))


def test_rows_of_one_unit_have_the_error_of_its_mean() -> None:
    design, rng = plan(["a", "b", "c"], 8, 1), np.random.default_rng(5)
    held = [*design.plain, *design.mirror]
    scores = rng.standard_normal((8, 1)) + 0.1 * rng.standard_normal((8, 6))  # turns of one program are alike
    rows = [row for row in held for _ in range(6)]
    of_units = estimate(rows, scores.ravel().tolist(), [0] * 48, rows)
    of_means = estimate(held, scores.mean(axis=1).tolist(), [0] * 8)
    alone = estimate(rows, scores.ravel().tolist(), [0] * 48)
    for unit, mean, turn in zip(of_units, of_means, alone, strict=True):
        assert unit is not None and mean is not None and turn is not None
        assert (unit.value, unit.se, unit.df) == pytest.approx((mean.value, mean.se, mean.df))
        assert unit.se is not None and turn.se is not None and unit.se > 2 * turn.se


@pytest.mark.parametrize("factors", [1, 3, 5, 12])
def test_turns_have_each_factor_in_half_of_each_block(factors: int) -> None:
    design = plan([f"d{i}" for i in range(factors)], 2 * order_of(factors), 1)
    assert sorted(row for block in design.turn_blocks for row in block) == sorted(design.plain + design.mirror)
    for block in design.turn_blocks:
        assert len(block) <= 8 and [sum(held) for held in zip(*block, strict=True)] == [len(block) / 2] * factors
