"""Every race rule as a registry makes it, and further settings of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from arena.race import RACE_RULES, Allocation, ArmScore, Racer, RaceStart, SequentialHalving, Stage, TopTwo
from tests.conformance import RaceRuleConformance
from tests.conformance.studies import ARMS, RACED, START, scores

SETTINGS: dict[str, Callable[[], Racer]] = {
    "allocation": lambda: Allocation({arm: 4 + (arm == "a0") if arm in RACED else 2 for arm in ARMS}),
    "halving": lambda: SequentialHalving([Stage(None, 2), Stage(3, 5), Stage(1, 8)]),
    "top-two": lambda: TopTwo(2, 20, batch=3, seed=7),
    "top-two, settled": lambda: TopTwo(2, 28, doubt=0.2, seed=7),
}


@pytest.mark.parametrize("name", RACE_RULES.built_in)
class TestEveryRaceRule(RaceRuleConformance):
    pass


@pytest.mark.parametrize("make", SETTINGS.values(), ids=SETTINGS.keys())
class TestOtherSettings(RaceRuleConformance):
    @pytest.fixture
    def start(self) -> RaceStart:
        return START


@pytest.mark.parametrize("make", list(SETTINGS.values())[1:], ids=list(SETTINGS)[1:])  # allocation names its arms
def test_one_racer_may_be_asked_about_several_matches(make: Callable[[], Racer]) -> None:
    racer, counts = make(), dict.fromkeys(ARMS, 2)
    first = racer.next_round(scores(counts))
    racer.next_round([ArmScore("m" + s.arm_id, s.raced, tuple(-g for g in s.gains)) for s in scores(counts)])
    assert racer.next_round(scores(counts)) == first
