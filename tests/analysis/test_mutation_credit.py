"""What a child gained over its parents, by hand."""

from __future__ import annotations

import math

import pytest

from analysis.families import SideRun as run
from analysis.methods.mutation import compare
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
