"""What a child gained over its parents, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace

import duckdb
import numpy as np
import pytest

from analysis.effects.mutation import Family, moderated
from analysis.statistics import Estimate, mean_interval, welch_difference
from analysis.views.tables import statement, typed_rows

Run = tuple[str, str, int, str, float, bool]  # child, match, run seed, program, gain, whether the match was earlier
COLUMNS = """
CREATE TABLE family_runs (child_id VARCHAR, match_id VARCHAR, run_seed BIGINT, program_id VARCHAR, gain DOUBLE,
    is_earlier BOOLEAN, child BOOLEAN, operator VARCHAR, name VARCHAR, parent_ids VARCHAR[])
"""


def families(runs: Sequence[Run]) -> list[Family]:
    with duckdb.connect() as con:
        con.execute(COLUMNS)
        columns = [list(column) for column in zip(*runs, strict=True)]
        rows = f"SELECT {', '.join(['unnest(?)'] * len(columns))}"
        con.execute(
            f"INSERT INTO family_runs SELECT *, a = d, '', a, ['first', 'good'] FROM ({rows}) AS t(a, b, c, d, e, f)",
            columns,
        )
        return typed_rows(con.execute(statement("effects/family_pairs")), Family)


def of(match: str, who: str, gains: Iterable[float], is_earlier: bool = False, child: str = "child") -> list[Run]:
    """Runs of a program of the family on the seeds 0, 1, 2 …"""
    return [(child, match, seed, who, gain, is_earlier) for seed, gain in enumerate(gains)]


def family(pairs: list[float]) -> Family:
    return Family("child", "write-ideas", "", ["first"], pairs, [0.0, 0.0], pairs)


def test_seeds_of_the_parents_are_one_difference_each() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, two degrees of freedom."""
    runs = of("m", "child", [6.0, 7.0, 8.0]) + of("m", "first", [5.0] * 3)
    [found] = families(runs)
    assert (found.design, found.difference) == ("paired", mean_interval([1.0, 2.0, 3.0]))


def test_one_pair_is_no_pairing() -> None:
    children, parents = [3.0, 4.0], [1.0, 2.5, 2.0]
    runs = of("m", "child", children) + of("m", "first", parents[:1]) + of("old", "first", parents[1:])
    [found] = families(runs)
    assert found.design == "observational"
    assert astuple(found.difference) == pytest.approx(astuple(welch_difference(children, parents)))


def test_the_same_seed_of_another_match_is_no_pair() -> None:
    [found] = families(of("new", "child", [0.0, 1.0, 2.0]) + of("old", "first", [0.0] * 3))
    assert found.design == "observational" and found.difference.se == pytest.approx(mean_interval([0.0, 1.0, 2.0]).se)


def test_without_runs_of_both_sides_nothing_is_said() -> None:
    assert families(of("m", "child", [1.0])) == [] == families(of("m", "first", [1.0]))
    [found] = families(of("m", "child", [1.0]) + of("m", "first", [0.0]))
    assert (found.design, found.difference) == ("observational", Estimate(1.0, n=1))


def test_two_pairs_that_agree_are_no_precise_difference() -> None:
    """Of five children with two pairs each, one has a hundredth of the others' SE: it gets nearly theirs."""
    agreeing, other = family([0.497, 0.503]), family([-0.2, 0.4])
    first, *rest = moderated([agreeing, *[other] * 4])
    assert first.se == pytest.approx(0.3 * math.sqrt(4 / 5), rel=0.01) and first.df == 5
    assert all(gain.se == pytest.approx(first.se) for gain in rest)
    many = family([0.1 + math.sqrt(1.8 * 19 / 20) * sign for sign in (-1, 1) * 10])
    odd, _ = moderated([family([-2.5, 3.5]), many])
    assert odd.se == pytest.approx(math.sqrt((1 * 18.0 + 8 * 1.8) / 9 / 2)) and odd.df == 9  # variances of their pairs
    unpaired = replace(other, pairs=[])
    assert moderated([agreeing, unpaired]) == [agreeing.difference, unpaired.difference]


def test_child_of_two_is_compared_with_formerly_better_parent() -> None:
    """In the child's match the first parent is luckier; the child only equals the good one."""
    runs = of("m", "child", [5, 6, 7, 8]) + of("m", "good", [6, 5, 8, 7]) + of("m", "first", [9, 9])
    before = of("old", "good", [3.0], True) + of("old", "first", [1.0], True)
    for more, estimate, n in (([], -3.5, 2), (before, 0.0, 4), ([*before, *of("new", "first", [9.0] * 9)], 0.0, 4)):
        [found] = families([*runs, *more])
        assert (found.difference.value, found.difference.n, found.design) == (estimate, n, "paired")


def test_parent_that_ran_beside_the_child_goes_first() -> None:
    """The child gained .5 more on each of four seeds; the other parent has two better runs in another match."""
    runs = of("m", "child", [1.5, 2.5, 3.5, 4.5]) + of("m", "good", [1, 2, 3, 4])
    [found] = families([*runs, *of("old", "first", [6, 7], True)])
    assert (found.difference.value, found.difference.n, found.design) == (0.5, 4, "paired")


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("earlier", [0, 3])
def test_equal_programs_help_and_hurt_in_fortieth_of_cases_each(paired: bool, earlier: int) -> None:
    """Three runs of each; the parent that is the better one in them would hurt in 4.5%, and help in 1%."""
    rng, runs, found = np.random.default_rng(1), list[Run](), []
    for number in range(2000):
        child = f"c{number:04}"
        runs += of("m", child, rng.standard_normal(3).tolist(), child=child)
        for parent in ("first", "good"):
            runs += of("m" if paired else "other", parent, rng.standard_normal(3).tolist(), not paired, child)
            runs += of("old", parent, rng.standard_normal(earlier).tolist(), True, child)
    for each in families(runs):
        low, high = each.difference.interval()
        assert low is not None and high is not None
        found.append((low > 0, high < 0))
    helps, hurts = np.mean(found, axis=0)
    assert len(found) == 2000 and 0.016 < helps < 0.034 and 0.016 < hurts < 0.034, (helps, hurts)
