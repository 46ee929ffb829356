"""Race rules: every one as a registry makes it, and where each spends its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import pytest

from analysis.statistics import Estimate, Posterior
from arena.race import RACE_RULES, Allocation, ArmScore, Racer, RaceStart, SequentialHalving, Stage, TopTwo
from arena.racers.top_two import in_doubt, top_two
from tests.conformance import RaceRuleConformance
from tests.conformance.studies import ARMS, RACED, START, scores

SETTINGS: dict[str, Callable[[], Racer]] = {
    "allocation": lambda: Allocation({arm: 4 + (arm == "a0") if arm in RACED else 2 for arm in ARMS}),
    "halving": lambda: SequentialHalving([Stage(None, 2), Stage(3, 5), Stage(1, 8)]),
    "top-two": lambda: TopTwo(2, 20, batch=3, seed=7),
    "top-two, settled": lambda: TopTwo(2, 28, doubt=0.2, seed=7),
}
EIGHT = [f"a{i}" for i in range(8)]


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


def runs_of(racer: Racer, draw: Callable[[str], float], arms: Sequence[str] = EIGHT) -> dict[str, int]:
    """How many runs each arm gets in a race whose gains are drawn by ``draw(arm)``."""
    gains: dict[str, list[float]] = {arm: [] for arm in arms}
    while wanted := racer.next_round([ArmScore(arm, True, tuple(found)) for arm, found in gains.items()]):
        for arm, runs in wanted.items():
            gains[arm] += [draw(arm) for _ in range(runs - len(gains[arm]))]
    return {arm: len(found) for arm, found in gains.items()}


def noisy(seed: int, step: float = 1.0, noise: float = 1.0) -> Callable[[str], float]:
    rng = np.random.default_rng(seed)
    return lambda arm: step * int(arm[1:]) + noise * rng.standard_normal()


def test_allocation_gives_every_arm_its_number() -> None:
    assert runs_of(Allocation({"a": 3, "b": 1}), lambda _: 0.0, ["a", "b"]) == {"a": 3, "b": 1}


def test_halving_spends_its_last_runs_on_the_best() -> None:
    runs = runs_of(SequentialHalving([Stage(None, 2), Stage(4, 4), Stage(2, 8)]), noisy(1, noise=0.1))
    assert list(runs.values()) == [2, 2, 2, 2, 4, 4, 8, 8]


@pytest.mark.parametrize(
    ("gains", "stages"),
    [
        # a resumed race makes the choice that it made before, though the chosen arm has more runs by now
        ({"best": (5.0, 5.0, -50.0), "other": (4.0, 4.0)}, [Stage(None, 2), Stage(1, 4)]),
        # one lucky noisy arm is shrunk no more than the others
        ({"best": (1.0, 1.1, 0.9, 1.0), "wild": (3.0, -2.0, 2.9, -1.0)}, [Stage(None, 4), Stage(1, 8)]),
    ],
    ids=["resumed", "noisy"],
)
def test_halving_judges_each_stage_by_earlier_runs(gains: dict[str, tuple[float, ...]], stages: list[Stage]) -> None:
    racer = SequentialHalving(stages)
    assert racer.next_round([ArmScore(arm, True, each) for arm, each in gains.items()]) == {"best": stages[1].runs}


def test_top_two_gives_runs_to_those_that_may_be_best() -> None:
    runs = runs_of(TopTwo(2, 60, seed=1), noisy(1))
    assert sum(runs.values()) == 60
    assert runs["a7"] + runs["a6"] > 30 and max(runs["a0"], runs["a1"], runs["a2"]) <= 4


def test_top_two_ends_as_soon_as_the_best_is_clear() -> None:
    near, far = (
        [sum(runs_of(TopTwo(2, 200, doubt=0.05, seed=s), noisy(s, step)).values()) for s in range(3)]
        for step in (0.3, 5.0)
    )
    assert max(far) < min(near)


def test_top_two_batch_never_goes_over_the_most() -> None:
    few = [ArmScore(arm, True, (0.0 + i, 1.0 + i)) for i, arm in enumerate(EIGHT[:3])]
    for most, given in ((12, 4), (7, 1)):
        wanted = TopTwo(2, most, batch=4, seed=1).next_round(few)
        assert sum(runs - 2 for runs in wanted.values()) == given
    assert sum(runs_of(TopTwo(2, 10, seed=3), lambda _: 1.0, EIGHT[:3]).values()) == 10  # without noise, too
    assert TopTwo(2, 20).next_round(few[:1]) == {}  # one arm alone is no race


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
