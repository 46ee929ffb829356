"""What every racer owes the arena, whatever its algorithm: a match that can be cut off anywhere and taken up again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from arena.race import Allocation, ArmScore, Racer, SequentialHalving, Stage, TopTwo

from .play import play

ARMS = [f"a{i}" for i in range(6)]
RACED = set(ARMS[:5])
RACERS: dict[str, Callable[[], Racer]] = {
    "allocation": lambda: Allocation({arm: 4 + (arm == "a0") for arm in ARMS}),
    "halving": lambda: SequentialHalving([Stage(None, 2), Stage(3, 5), Stage(1, 8)]),
    "top-two": lambda: TopTwo(2, 30, batch=3, seed=7),
    "top-two, settled": lambda: TopTwo(2, 60, doubt=0.2, seed=7),
}
racers = pytest.mark.parametrize("make", RACERS.values(), ids=RACERS.keys())


def lists() -> dict[str, list[float]]:
    """The gains that each arm's seeds will bring, whoever asks for them and when."""
    rng = np.random.default_rng(3)
    return {arm: (i / 3 + rng.standard_normal(100)).tolist() for i, arm in enumerate(ARMS)}


def scores(counts: dict[str, int]) -> list[ArmScore]:
    return [ArmScore(arm, arm in RACED, tuple(lists()[arm][: counts[arm]])) for arm in ARMS]


@racers
def test_a_race_ends_and_asks_only_for_arms_that_take_part(make: Callable[[], Racer]) -> None:
    drawn = {arm: iter(values) for arm, values in lists().items()}
    gains = play(make(), lambda arm: next(drawn[arm]), ARMS, RACED)
    assert set(gains) == set(ARMS) and all(len(runs) >= 2 for runs in gains.values())


@racers
def test_a_race_cut_off_within_a_round_asks_for_the_rest_of_it(make: Callable[[], Racer]) -> None:
    racer, counts = make(), dict.fromkeys(ARMS, 0)
    while wanted := racer.next_round(scores(counts)):
        half = dict(counts)
        for number, (arm, runs) in enumerate(wanted.items()):
            if number % 2 == 0:
                half[arm] = runs
        rest = {arm: runs for arm, runs in wanted.items() if half[arm] < runs}
        if rest:
            assert make().next_round(scores(half)) == rest
        counts |= wanted


@racers
def test_a_new_racer_goes_where_the_first_one_went(make: Callable[[], Racer]) -> None:
    """The process that resumes a study knows nothing but the ledger."""
    kept, counts = make(), dict.fromkeys(ARMS, 0)
    while wanted := kept.next_round(scores(counts)):
        assert make().next_round(scores(counts)) == wanted
        counts |= wanted
    assert make().next_round(scores(counts)) == {}


@racers
def test_one_racer_may_be_asked_about_several_matches(make: Callable[[], Racer]) -> None:
    racer, counts = make(), dict.fromkeys(ARMS, 2)
    first = racer.next_round(scores(counts))
    other = [ArmScore("m" + s.arm_id, s.raced, tuple(-g for g in s.gains)) for s in scores(counts)]
    if not isinstance(racer, Allocation):  # which names its arms
        racer.next_round(other)
    assert racer.next_round(scores(counts)) == first
