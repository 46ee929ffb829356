"""What a child gained over its parents, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from analysis.effects.mutation import FamilyRun, beside_one_parent, compare, moderated
from analysis.effects.mutation import SideRun as run
from analysis.statistics import interval, mean_interval, welch_difference


def test_with_the_seeds_of_its_parents_each_seed_is_one_difference() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, two degrees of freedom."""
    pairs = [(seed, gain) for seed, gain in ((1, 1.0), (2, 2.0), (3, 3.0))]
    runs = [run("m", seed, True, 5.0 + gain) for seed, gain in pairs] + [run("m", s, False, 5.0) for s, _ in pairs]
    assert compare(runs) == (2.0, pytest.approx(1.0 / math.sqrt(3)), 2, 3, "paired")


def test_one_pair_is_no_pairing() -> None:
    children, parents = [3.0, 4.0], [1.0, 2.5, 2.0]
    runs = [run("m", i, True, gain) for i, gain in enumerate(children)]
    runs += [run("m" if i == 0 else "old", i, False, gain) for i, gain in enumerate(parents)]
    assert compare(runs) == (*welch_difference(children, parents), 2, "observational")


def test_the_same_seed_of_another_match_is_no_pair() -> None:
    runs = [run("new", i, True, float(i)) for i in range(3)] + [run("old", i, False, 0.0) for i in range(3)]
    found = compare(runs)
    assert found is not None and found[4] == "observational"
    assert found[1] == pytest.approx(mean_interval([0.0, 1.0, 2.0]).se)


def test_without_runs_of_both_sides_nothing_is_said() -> None:
    assert compare([run("m", 1, True, 1.0)]) is None
    assert compare([run("m", 1, True, 1.0), run("m", 1, False, 0.0)]) == (1.0, None, 0.0, 1, "observational")


def test_two_pairs_that_agree_are_no_precise_difference() -> None:
    """Of five children with two pairs each, one has a hundredth of the others' SE: it gets nearly theirs."""
    agreeing, others = (0.5, 0.003, 1, 2, "paired"), [(0.1, 0.3, 1, 2, "paired")] * 4
    first, *rest = moderated([agreeing, *others])  # type: ignore[list-item]
    assert first[1] == pytest.approx(0.3 * math.sqrt(4 / 5), rel=0.01) and first[2] == 5
    assert all(one[1] == pytest.approx(0.3, rel=0.15) for one in rest)
    alone = moderated([agreeing, (0.2, 0.1, 3.0, 4, "observational")])  # type: ignore[list-item]
    assert alone[0] == agreeing and alone[1][1:3] == (0.1, 3.0)


def of(match: str, who: str, gains: Iterable[float], is_earlier: bool = False) -> list[FamilyRun]:
    """Runs of a program of the family on the seeds 0, 1, 2 …"""
    family = "child", ["first", "good"], who
    return [
        FamilyRun(match, seed, who == "child", gain, *family, is_earlier=is_earlier) for seed, gain in enumerate(gains)
    ]


def test_a_child_of_two_is_compared_with_the_parent_that_was_the_better_one_before() -> None:
    """In the child's match the first parent is luckier; the child only equals the good one."""
    runs = of("m", "child", [5, 6, 7, 8]) + of("m", "good", [6, 5, 8, 7]) + of("m", "first", [9, 9])
    before = of("old", "good", [3.0], True) + of("old", "first", [1.0], True)
    for more, estimate, n in (([], -3.5, 2), (before, 0.0, 4), ([*before, *of("new", "first", [9.0] * 9)], 0.0, 4)):
        found = compare(beside_one_parent([*runs, *more]))
        assert found is not None and (found[0], found[3], found[4]) == (estimate, n, "paired")


def test_a_parent_that_ran_beside_the_child_goes_before_one_that_did_not() -> None:
    """The child gained .5 more on each of four seeds; the other parent has two better runs in another match."""
    runs = of("m", "child", [1.5, 2.5, 3.5, 4.5]) + of("m", "good", [1, 2, 3, 4])
    found = compare(beside_one_parent([*runs, *of("old", "first", [6, 7], True)]))
    assert found is not None and (found[0], found[3], found[4]) == (0.5, 4, "paired")


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("earlier", [0, 3])
def test_equal_programs_help_and_hurt_in_a_fortieth_of_the_cases_each(paired: bool, earlier: int) -> None:
    """Three runs of each; the parent that is the better one in them would hurt in 4.5%, and help in 1%."""
    rng, found = np.random.default_rng(1), []
    for _ in range(2000):
        runs = of("m", "child", rng.standard_normal(3).tolist())
        for parent in ("first", "good"):
            runs += of("m" if paired else "other", parent, rng.standard_normal(3).tolist(), not paired)
            runs += of("old", parent, rng.standard_normal(earlier).tolist(), True)
        estimate, se, df, _, _ = compare(beside_one_parent(runs)) or (0.0, None, 0.0, 0, "")
        low, high = interval(estimate, se, df)
        assert low is not None and high is not None
        found.append((low > 0, high < 0))
    helps, hurts = np.mean(found, axis=0)
    assert 0.016 < helps < 0.034 and 0.016 < hurts < 0.034, (helps, hurts)
