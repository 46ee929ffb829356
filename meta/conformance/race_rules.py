"""What a match expects of a race rule: it can be cut off anywhere and taken up again, and stays within its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from arena.race import RACE_RULES, ArmScore, Racer, RaceStart
from meta.conformance.base import Conformance

ARMS = [f"a{i}" for i in range(6)]
RACED = set(ARMS[:5])
START = RaceStart({arm: arm in RACED for arm in ARMS}, first=2, keep=3, more=8, most=28, batch=3, seed=7)
MOST_ROUNDS = 400


class RaceRuleConformance(Conformance):
    """``make``: a new racer of that rule, as the process that resumes a study makes one."""

    @pytest.fixture
    def make(self, name: str) -> Callable[[], Racer]:
        return lambda: RACE_RULES.get(name)(START)

    def test_a_race_ends_and_asks_only_for_arms_that_take_part(self, make: Callable[[], Racer]) -> None:
        drawn = {arm: iter(values) for arm, values in lists().items()}
        gains = play(make(), lambda arm: next(drawn[arm]), ARMS, RACED)
        assert set(gains) == set(ARMS) and all(len(runs) >= START.first for runs in gains.values())

    def test_a_race_spends_no_more_than_it_may(self, make: Callable[[], Racer]) -> None:
        drawn = {arm: iter(values) for arm, values in lists().items()}
        gains = play(make(), lambda arm: next(drawn[arm]), ARMS, RACED)
        assert sum(len(gains[arm]) for arm in RACED) <= START.most
        assert all(len(gains[arm]) == START.first for arm in set(ARMS) - RACED)

    def test_a_race_cut_off_within_a_round_asks_for_the_rest_of_it(self, make: Callable[[], Racer]) -> None:
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

    def test_a_new_racer_goes_where_the_first_one_went(self, make: Callable[[], Racer]) -> None:
        """The process that resumes a study knows nothing but the ledger."""
        racer, counts = make(), dict.fromkeys(ARMS, 0)
        while wanted := racer.next_round(scores(counts)):
            assert make().next_round(scores(counts)) == wanted
            counts |= wanted
        assert make().next_round(scores(counts)) == {}


def lists() -> dict[str, list[float]]:
    """The gains that each arm's seeds will bring, independent of the request."""
    rng = np.random.default_rng(3)
    return {arm: (i / 3 + rng.standard_normal(100)).tolist() for i, arm in enumerate(ARMS)}


def scores(counts: Mapping[str, int]) -> list[ArmScore]:
    drawn = lists()
    return [ArmScore(arm, arm in RACED, tuple(drawn[arm][: counts[arm]])) for arm in ARMS]


def play(
    racer: Racer, draw: Callable[[str], float], arms: Sequence[str], raced: set[str] | None = None
) -> dict[str, list[float]]:
    """Carry a race out with gains drawn by ``draw(arm)``; returns every arm's gains."""
    gains: dict[str, list[float]] = {arm: [] for arm in arms}
    for _ in range(MOST_ROUNDS):
        wanted = racer.next_round([ArmScore(a, raced is None or a in raced, tuple(g)) for a, g in gains.items()])
        if not wanted:
            return gains
        for arm, runs in wanted.items():
            assert runs > len(gains[arm])
            gains[arm] += [draw(arm) for _ in range(runs - len(gains[arm]))]
    raise AssertionError("the race does not end")
