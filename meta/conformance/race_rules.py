"""What a match expects of a race rule: it can be cut off anywhere and taken up again, and stays within its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from arena.race import RACE_RULES, ArmScore, Racer, RaceStart
from meta.conformance.base import Conformance

ARMS = [f"a{i}" for i in range(6)]
RACED = set(ARMS[:5])
START = RaceStart({arm: arm in RACED for arm in ARMS}, first=2, keep=3, more=8, most=28, batch=3, seed=7)
TIGHT = replace(START, keep=2, more=4, most=14)
MOST_ROUNDS = 400


class RacerConformance(Conformance):
    """``make``: a new racer within the runs of `START`, as the process that resumes a study makes one."""

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
        for counts, wanted in rounds(make()):
            half = dict(counts)
            for number, (arm, runs) in enumerate(wanted.items()):
                if number % 2 == 0:
                    half[arm] = runs
            rest = {arm: runs for arm, runs in wanted.items() if half[arm] < runs}
            if rest:
                assert make().next_round(scores(half)) == rest

    def test_a_new_racer_goes_where_the_first_one_went(self, make: Callable[[], Racer]) -> None:
        """The process that resumes a study knows nothing but the ledger."""
        for counts, wanted in rounds(make()):
            assert make().next_round(scores(counts)) == wanted


class RaceRuleConformance(RacerConformance):
    """Of a rule by its name."""

    @pytest.fixture
    def make(self, name: str) -> Callable[[], Racer]:
        return lambda: RACE_RULES.get(name)(START)

    def test_a_race_with_few_runs_spends_no_more_than_it_may(self, name: str) -> None:
        drawn = {arm: iter(values) for arm, values in lists().items()}
        gains = play(RACE_RULES.get(name)(TIGHT), lambda arm: next(drawn[arm]), ARMS, RACED)
        assert sum(len(gains[arm]) for arm in RACED) <= TIGHT.most


def rounds(racer: Racer) -> Iterator[tuple[dict[str, int], Mapping[str, int]]]:
    """(runs of each arm so far, what the racer asks for) of a whole race; the last request is empty."""
    counts = dict.fromkeys(ARMS, 0)
    for _ in range(MOST_ROUNDS):
        wanted = racer.next_round(scores(counts))
        yield dict(counts), wanted
        if not wanted:
            return
        assert all(runs > counts[arm] for arm, runs in wanted.items()), "it asks for runs that are there"
        counts |= wanted
    raise AssertionError("the race does not end")


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
