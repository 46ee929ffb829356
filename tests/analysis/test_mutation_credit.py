"""What a child gained over its parents, by hand."""

from __future__ import annotations

import math

import pytest

from analysis.directive_effects import contrasts
from analysis.families import FamilyRun
from analysis.families import SideRun as run
from analysis.methods.mutation import beside_the_better, compare
from analysis.statistics import mean_interval, welch_difference


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


def test_a_child_of_two_is_compared_with_the_better_one_on_the_seeds_that_both_ran() -> None:
    """The weak parent ran two of the four seeds, and gained 2 less than the good one, which the child only equals."""

    def of(who: str, seed: int, gain: float) -> FamilyRun:
        return FamilyRun("m", seed, who == "child", gain, "child", ["weak", "good"], who)

    runs = [of("child", seed, 5.0 + seed) for seed in range(4)]
    runs += [of("good", seed, 5.0 + seed + (-1) ** seed) for seed in range(4)]
    runs += [of("weak", seed, 3.0 + seed) for seed in range(2)]
    found = compare(beside_the_better(runs))
    assert found is not None and (found[0], found[3], found[4]) == (0.0, 4, "paired")
    held = {"child": {"d0", "d1"}, "weak": {"d1"}, "good": {"d0"}}
    changed = {row.seed: dict(row.changed) for row in contrasts(runs, held) if row.changed}
    assert changed == {0: {"d0": 0.5, "d1": 0.5}, 1: {"d0": 0.5, "d1": 0.5}, 2: {"d1": 1.0}, 3: {"d1": 1.0}}
    means = [row.gain for row in contrasts(runs, held) if not row.changed]
    assert means == [4.5, 4.5, 8.0, 7.0]  # of those that ran
