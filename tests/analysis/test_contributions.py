"""What the turns of a night show of its programs: two copies are told apart as seldom as the level says."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from analysis.effects.contributions import NightTurnRow, _contribution, block_test, contributions, equal_blocks
from analysis.effects.league import ScoredTurn, alike_p, largest_difference, league_test


def played(seed: int, better: float = 1.0, blocks: int = 40, twice: bool = False) -> list[NightTurnRow]:
    """Turns of programs a and b, which find something in every fifth turn; b finds ``better`` times as often."""
    rng, rows = np.random.default_rng(seed), list[NightTurnRow]()
    for block in range(blocks):
        for name in rng.permutation(["a", "a", "b"] if twice else ["a", "b"]):
            found = rng.random() < 0.15 * (better if name == "b" else 1.0)
            gain = float(rng.exponential(0.1)) if found else 0.0
            rows.append(NightTurnRow("r", len(rows), block, str(name), 1, len(rows) if found else None, gain, 1.0))
    return rows


def test_two_copies_are_told_apart_in_at_most_the_level() -> None:
    shown = [block_test([(played(seed), 0.03)], "a", "b") < 0.025 for seed in range(300)]
    assert sum(shown) <= 16  # 2.5% of 300 are 7.5; more has a probability of 0.4%


def test_a_better_program_is_seen_over_several_nights() -> None:
    one = [block_test([(played(seed, 3.0), 0.03)], "a", "b") < 0.025 for seed in range(40)]
    five = [block_test([(played(5 * seed + k, 3.0), 0.03) for k in range(5)], "a", "b") < 0.025 for seed in range(40)]
    assert 5 <= sum(one) < sum(five) and sum(five) >= 35


def test_gains_without_noise_count_by_whether_they_were_kept() -> None:
    turns = played(1, 4.0)
    assert block_test([(turns, None)], "a", "b") == block_test([(turns, 0.0)], "a", "b") < 0.05
    assert block_test([([], None)], "a", "b") == 1.0
    assert block_test([(played(1, 9.0, twice=True), 0.03)], "a", "b") == 1.0, "two turns use up a list twice as fast"


def test_blocks_with_two_turns_of_one_program_are_no_test() -> None:
    unequal, equal = (played(1, 9.0, twice=True), 0.03), (played(1, 1.0, blocks=3), 0.03)
    assert equal_blocks([unequal, ([], None)], "a", "b") == [] and len(equal_blocks([unequal, equal], "a", "b")) == 3
    assert equal_blocks([equal], "a", "c") == []


@pytest.mark.parametrize("blocks", [40, 200])
def test_interval_of_rare_large_gains_contains_the_expected_gain(blocks: int) -> None:
    """Most turns gain nothing: an interval that is as wide on both sides lies too low."""
    inside = []
    for seed in range(600):
        shown = _contribution("a", played(seed, blocks=blocks))
        inside.append(shown.low is not None and shown.high is not None and shown.low <= 0.015 * 3600 <= shown.high)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_turns_that_all_gained_nothing_have_no_interval() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE night_turns AS SELECT 'r' AS run_id, n AS number, n // 2 AS block, "
                    "if(n % 2 = 0, 'a', 'b') AS program_id, 1 AS experiments, NULL::BIGINT AS kept, "
                    "if(n = 1, 5e-1, 0e0) AS gain, 6e1 AS device_seconds_charged FROM range(6) AS _(n)")  # fmt: skip
        none, some = contributions(con)
    assert (none.gain_per_hour, none.low, none.high) == (0.0, None, None)
    assert some.low is not None and some.high is not None and some.low < (some.gain_per_hour or 0.0) < some.high


def scores(difference: float) -> np.ndarray:
    """Scores of 32 blocks in which the first of eight programs differs by so much."""
    table = np.random.default_rng(7).normal(0, 1, (32, 8))
    table[:, 0] += difference
    return table


def test_alike_p_is_small_only_where_a_program_differs() -> None:
    assert alike_p(scores(2.0), 999) < 0.01 < 0.1 < alike_p(scores(0.0), 999)


def test_largest_difference_has_a_limit_on_both_sides() -> None:
    (large, half), (none, about) = largest_difference(scores(2.0)), largest_difference(scores(0.0))
    assert large - half > 0 and 1.0 < large < 3.5 and none - about < 0 < about


def test_league_test_leaves_out_a_block_without_every_program() -> None:
    turns = [
        ScoredTurn("r", block, program, True, False, score)
        for block, row in enumerate([(1.0, 0.0), (3.0, 1.0)])
        for program, score in zip(("p1", "p2"), row, strict=True)
    ]
    assert league_test(turns[:3]) is None
    found = league_test([*turns, ScoredTurn("r", 2, "p1", True, False, 99.0)])
    assert found is not None and found.largest == 1.5
