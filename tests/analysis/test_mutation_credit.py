"""What a child gained over its parents, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import pytest

from analysis.effects.mutation import Comparison, Family, moderated
from analysis.statistics import interval, mean_interval, welch_difference
from analysis.tables import statement, typed_rows

Run = tuple[str, str, int, str, float, bool]  # child, match, run seed, program, gain, whether the match was earlier
COLUMNS = """
CREATE TABLE family_runs (child_id VARCHAR, match_id VARCHAR, run_seed BIGINT, program_id VARCHAR, gain DOUBLE,
    is_earlier BOOLEAN, child BOOLEAN, operator VARCHAR, name VARCHAR, parent_ids VARCHAR[])
"""


def compared(runs: Sequence[Run]) -> list[Comparison]:
    with duckdb.connect() as con:
        con.execute(COLUMNS)
        columns = [list(column) for column in zip(*runs, strict=True)]
        rows = f"SELECT {', '.join(['unnest(?)'] * len(columns))}"
        con.execute(
            f"INSERT INTO family_runs SELECT *, a = d, '', a, ['first', 'good'] FROM ({rows}) AS t(a, b, c, d, e, f)",
            columns,
        )
        return [family.compared() for family in typed_rows(con.execute(statement("family_pairs")), Family)]


def of(match: str, who: str, gains: Iterable[float], is_earlier: bool = False, child: str = "child") -> list[Run]:
    """Runs of a program of the family on the seeds 0, 1, 2 …"""
    return [(child, match, seed, who, gain, is_earlier) for seed, gain in enumerate(gains)]


def test_with_the_seeds_of_its_parents_each_seed_is_one_difference() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, two degrees of freedom."""
    runs = of("m", "child", [6.0, 7.0, 8.0]) + of("m", "first", [5.0] * 3)
    assert compared(runs) == [(2.0, pytest.approx(1.0 / math.sqrt(3)), 2, 3, "paired")]


def test_one_pair_is_no_pairing() -> None:
    children, parents = [3.0, 4.0], [1.0, 2.5, 2.0]
    runs = of("m", "child", children) + of("m", "first", parents[:1]) + of("old", "first", parents[1:])
    assert compared(runs) == [(*map(pytest.approx, welch_difference(children, parents)), 2, "observational")]


def test_the_same_seed_of_another_match_is_no_pair() -> None:
    [found] = compared(of("new", "child", [0.0, 1.0, 2.0]) + of("old", "first", [0.0] * 3))
    assert found.design == "observational" and found.se == pytest.approx(mean_interval([0.0, 1.0, 2.0]).se)


def test_without_runs_of_both_sides_nothing_is_said() -> None:
    assert compared(of("m", "child", [1.0])) == [] == compared(of("m", "first", [1.0]))
    assert compared(of("m", "child", [1.0]) + of("m", "first", [0.0])) == [(1.0, None, 0.0, 1, "observational")]


def test_two_pairs_that_agree_are_no_precise_difference() -> None:
    """Of five children with two pairs each, one has a hundredth of the others' SE: it gets nearly theirs."""
    agreeing, other = Comparison(0.5, 0.003, 1, 2, "paired"), Comparison(0.1, 0.3, 1, 2, "paired")
    first, *rest = moderated([agreeing, *[other] * 4])
    assert first.se == pytest.approx(0.3 * math.sqrt(4 / 5), rel=0.01) and first.df == 5
    assert all(one.se == pytest.approx(first.se) for one in rest)
    odd, _ = moderated([Comparison(0.5, 3.0, 1, 2, "paired"), Comparison(0.1, 0.3, 19, 20, "paired")])
    assert odd.se == pytest.approx(math.sqrt((1 * 18.0 + 8 * 1.8) / 9 / 2)) and odd.df == 9  # variances of their pairs
    unpaired = Comparison(0.2, 0.1, 3.0, 4, "observational")
    assert moderated([agreeing, unpaired]) == [agreeing, unpaired]


def test_a_child_of_two_is_compared_with_the_parent_that_was_the_better_one_before() -> None:
    """In the child's match the first parent is luckier; the child only equals the good one."""
    runs = of("m", "child", [5, 6, 7, 8]) + of("m", "good", [6, 5, 8, 7]) + of("m", "first", [9, 9])
    before = of("old", "good", [3.0], True) + of("old", "first", [1.0], True)
    for more, estimate, n in (([], -3.5, 2), (before, 0.0, 4), ([*before, *of("new", "first", [9.0] * 9)], 0.0, 4)):
        [found] = compared([*runs, *more])
        assert (found.estimate, found.n, found.design) == (estimate, n, "paired")


def test_a_parent_that_ran_beside_the_child_goes_before_one_that_did_not() -> None:
    """The child gained .5 more on each of four seeds; the other parent has two better runs in another match."""
    runs = of("m", "child", [1.5, 2.5, 3.5, 4.5]) + of("m", "good", [1, 2, 3, 4])
    [found] = compared([*runs, *of("old", "first", [6, 7], True)])
    assert (found.estimate, found.n, found.design) == (0.5, 4, "paired")


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("earlier", [0, 3])
def test_equal_programs_help_and_hurt_in_a_fortieth_of_the_cases_each(paired: bool, earlier: int) -> None:
    """Three runs of each; the parent that is the better one in them would hurt in 4.5%, and help in 1%."""
    rng, runs, found = np.random.default_rng(1), list[Run](), []
    for number in range(2000):
        child = f"c{number:04}"
        runs += of("m", child, rng.standard_normal(3).tolist(), child=child)
        for parent in ("first", "good"):
            runs += of("m" if paired else "other", parent, rng.standard_normal(3).tolist(), not paired, child)
            runs += of("old", parent, rng.standard_normal(earlier).tolist(), True, child)
    for estimate, se, df, *_ in compared(runs):
        low, high = interval(estimate, se, df)
        assert low is not None and high is not None
        found.append((low > 0, high < 0))
    helps, hurts = np.mean(found, axis=0)
    assert len(found) == 2000 and 0.016 < helps < 0.034 and 0.016 < hurts < 0.034, (helps, hurts)
