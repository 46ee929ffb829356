"""Ranges of ranks for many arms are those that the test of every pair gives."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest

from analysis.standings import ALPHA, rank_ranges
from analysis.statistics import holm, t_test, welch_difference


def by_pairs(gains: Mapping[Any, Sequence[float]]) -> dict[Any, tuple[int, int]]:
    """The definition, word by word."""
    arms = [arm for arm, values in gains.items() if values]
    pairs = list(combinations(arms, 2))
    told = [welch_difference(gains[a], gains[b]) for a, b in pairs]
    ps = [None if difference is None else t_test(difference, se, df) for difference, se, df in told]
    above, below = dict.fromkeys(arms, 0), dict.fromkeys(arms, 0)
    for (a, b), p in zip(pairs, holm([1.0 if p is None else p for p in ps]), strict=True):
        if p < ALPHA:
            better, worse = (a, b) if sum(gains[a]) / len(gains[a]) > sum(gains[b]) / len(gains[b]) else (b, a)
            below[better] += 1
            above[worse] += 1
    return {arm: (1 + above[arm], len(arms) - below[arm]) for arm in arms}


def board(rng: random.Random, arms: int) -> dict[str, list[float]]:
    """Arms of all sorts: few and many runs, none, sure and unsure ones, untouched ones that gain 0 each time."""
    merit, spread = rng.choice([0.0, 0.05, 0.5, 5.0]), rng.choice([1e-6, 0.01, 0.1])
    most, apart = rng.choice([2, 3, 4, 12]), rng.random() < 0.5
    gains = {}
    for i in range(arms):
        middle = rng.gauss(0.0, merit)
        sd = spread * (10 ** rng.uniform(-3, 1) if apart else 1.0)
        kind = rng.random()
        values = [rng.gauss(middle, sd) for _ in range(rng.randint(0 if kind < 0.05 else most - 1, most))]
        gains[f"a{i}"] = [0.0] * len(values) if kind > 0.9 else [0.25] * len(values) if kind > 0.87 else values
    return gains


@pytest.mark.parametrize("seed", range(30))
def test_the_pruned_count_is_that_of_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    gains = board(rng, rng.choice([1, 2, 3, 10, 30]))
    assert rank_ranges(gains) == by_pairs(gains)


@pytest.mark.slow
def test_some_boards_have_something_to_tell() -> None:
    """So that the comparison above compares more than ties."""
    told = [rank_ranges(board(random.Random(seed), 60)) for seed in range(40)]
    shares = [sum(low > 1 for low, _ in ranges.values()) / max(len(ranges), 1) for ranges in told]
    assert sum(0.0 < share < 0.95 for share in shares) > 10


def test_nobody_and_equals() -> None:
    assert rank_ranges({}) == {}
    assert rank_ranges({"a": [0.0, 0.0], "b": [0.0, 0.0], "c": []}) == {"a": (1, 2), "b": (1, 2)}
    assert rank_ranges({"a": [0.0, 0.0], "b": [1.0, 1.0]}) == {"a": (2, 2), "b": (1, 1)}
