"""What the turns of several programs show together."""

from __future__ import annotations

import numpy as np

from analysis.effects.league import ScoredTurn, alike_p, largest_difference, league_test


def scores(difference: float) -> np.ndarray:
    """Scores of 32 blocks in which the first of eight programs differs by so much."""
    table = np.random.default_rng(7).normal(0, 1, (32, 8))
    table[:, 0] += difference
    return table


def test_alike_p_is_small_only_where_a_program_differs() -> None:
    assert alike_p(scores(2.0), 999) < 0.01 < 0.1 < alike_p(scores(0.0), 999)


def test_largest_difference_has_a_limit_on_both_sides() -> None:
    seen, half = largest_difference(scores(2.0))
    assert seen - half > 0 and 1.0 < seen < 3.5
    seen, half = largest_difference(scores(0.0))
    assert seen - half < 0 < half


def test_league_test_leaves_out_a_block_without_every_program() -> None:
    turns = [
        ScoredTurn("r", block, program, True, False, score)
        for block, row in enumerate([(1.0, 0.0), (3.0, 1.0)])
        for program, score in zip(("p1", "p2"), row, strict=True)
    ]
    assert league_test(turns[:3]) is None
    found = league_test([*turns, ScoredTurn("r", 2, "p1", True, False, 99.0)])
    assert found is not None and found.largest == 1.5
