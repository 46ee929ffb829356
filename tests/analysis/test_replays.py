"""Replay of kept commits: the three questions agree where nothing interacts, and differ as they should elsewhere."""

from __future__ import annotations

import pytest

from analysis.replays import MOST_SHAPLEY, Set, estimate, plan


def gains(commits: int, seeds: int, value: dict[int, float], pair: float = 0.0) -> dict[tuple[Set, int], float]:
    """An additive game, with a bonus where 0 and 1 are both in, and luck that a seed's sources share."""
    replay = plan(commits, seeds, 1)
    return {
        (chosen, seed): sum(value[i] for i in chosen) + pair * ({0, 1} <= set(chosen)) + 10.0 * seed
        for chosen, seed in replay.trainings
    }


def test_the_three_agree_where_commits_add_up() -> None:
    value = {0: 1.0, 1: 0.5, 2: -0.2, 3: 0.0}
    found = estimate(plan(4, 3, 1), gains(4, 3, value))
    assert set(found) == {"add-one-in", "leave-one-out", "shapley"}
    for means in found.values():
        assert [m.mean for m in means] == pytest.approx(list(value.values()))
        assert all(m.n == 3 and m.se == pytest.approx(0.0, abs=1e-9) for m in means)


def test_an_interaction_is_split_evenly_by_shapley_alone() -> None:
    value = {0: 1.0, 1: 0.5, 2: 0.0}
    found = {name: [m.mean for m in means] for name, means in estimate(plan(3, 2, 1), gains(3, 2, value, 0.4)).items()}
    assert found["add-one-in"] == pytest.approx([1.0, 0.5, 0.0])
    assert found["leave-one-out"] == pytest.approx([1.4, 0.9, 0.0])
    assert found["shapley"] == pytest.approx([1.2, 0.7, 0.0])
    assert sum(m or 0.0 for m in found["shapley"]) == pytest.approx(1.9)  # it shares out the whole gain


def test_a_plan_costs_what_it_says_and_more_seeds_go_on() -> None:
    small, large = plan(5, 2, 9), plan(5, 4, 9)
    assert small.orders == large.orders[:2] and set(small.trainings) < set(large.trainings)
    assert all(order == other[::-1] for order, other in large.orders)
    assert len(plan(1, 4, 1).trainings) == 8 and plan(1, 4, 1).orders == ((),) * 4
    many = plan(MOST_SHAPLEY + 1, 2, 1)
    assert len(many.trainings) == 2 * (2 * 9 + 2) and not any(many.orders)


def test_what_is_not_measured_yet_is_left_out() -> None:
    replay, all_gains = plan(2, 3, 1), gains(2, 3, {0: 1.0, 1: 2.0})
    part = {key: gain for key, gain in all_gains.items() if key[1] < 2}
    assert [m.n for m in estimate(replay, part)["shapley"]] == [2, 2]
    assert [m.mean for m in estimate(replay, {})["add-one-in"]] == [None, None]
