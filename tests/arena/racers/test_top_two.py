"""Top-two Thompson sampling: where runs go, and when it is enough."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from analysis.statistics import Estimate, Posterior
from arena.race import ArmScore, TopTwo
from arena.racers.top_two import in_doubt, top_two
from tests.arena.racers import play

ARMS = [f"a{i}" for i in range(8)]


def noisy(rng: np.random.Generator, step: float = 1.0):  # type: ignore[no-untyped-def]
    return lambda arm: step * int(arm[1:]) + rng.standard_normal()


def test_runs_go_to_those_that_may_be_best() -> None:
    gains = play(TopTwo(2, 60, seed=1), noisy(np.random.default_rng(1)), ARMS)
    runs = {arm: len(found) for arm, found in gains.items()}
    assert sum(runs.values()) == 60
    assert runs["a7"] + runs["a6"] > 30 and max(runs["a0"], runs["a1"], runs["a2"]) <= 4


def test_it_ends_as_soon_as_the_best_is_clear() -> None:
    spent = [
        sum(map(len, play(TopTwo(2, 200, doubt=0.05, seed=s), noisy(np.random.default_rng(s), step), ARMS).values()))
        for step in (0.3, 5.0)
        for s in range(3)
    ]
    assert max(spent[3:]) < min(spent[:3])


def test_the_batch_divides_the_runs_and_never_goes_over_the_most() -> None:
    scores = [ArmScore(arm, True, (0.0 + i, 1.0 + i)) for i, arm in enumerate(ARMS[:3])]
    wanted = TopTwo(2, 12, batch=4, seed=1).next_round(scores)
    assert sum(runs - 2 for runs in wanted.values()) == 4
    wanted = TopTwo(2, 7, batch=4, seed=1).next_round(scores)
    assert sum(runs - 2 for runs in wanted.values()) == 1


def test_one_arm_alone_is_no_race() -> None:
    assert TopTwo(2, 20).next_round([ArmScore("a", True, (1.0, 2.0))]) == {}


def test_equal_gains_without_noise_end_at_the_most() -> None:
    gains = play(TopTwo(2, 10, seed=3), lambda _: 1.0, ARMS[:3])
    assert sum(map(len, gains.values())) == 10


def score(mean: float, se: float) -> Posterior:
    return Posterior(Estimate(mean, se), Estimate(mean, se))


def test_doubt_is_the_chance_of_another_better_by_what_matters() -> None:
    """Two arms: the exact normal probability, over draws."""
    scored = [score(1.0, 0.5), score(0.4, 0.4)]
    rng = np.random.default_rng(4)
    a, b = 1.0 + 0.5 * rng.standard_normal(200_000), 0.4 + 0.4 * rng.standard_normal(200_000)
    assert abs(in_doubt(scored, 0.0) - fmean((b > a).tolist())) < 0.005
    three = [score(9.0, 0.5), score(8.8, 0.5), score(0.0, 0.5)]
    assert in_doubt(three, 0.0) > in_doubt(three, 0.1) > in_doubt(three, 0.2) > 0.0


def test_half_of_the_runs_go_to_the_leader_and_half_to_a_rival() -> None:
    """The leader of nearly every draw gets the toss of a fair coin; two rivals share the rest by how near they are."""
    scored = [score(3.0, 0.5), score(2.0, 0.5), score(-9.0, 0.5)]
    rng = np.random.default_rng(5)
    picked = np.bincount([top_two(scored, rng) for _ in range(4000)], minlength=3) / 4000
    assert abs(picked[0] - 0.5) < 0.04 and abs(picked[1] - 0.5) < 0.04 and picked[2] == 0.0
