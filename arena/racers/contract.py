"""What a racer decides: how many runs each arm of a match gets. Arms never differ in the budget of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from analysis.statistics import mean_interval, posterior


@dataclass(frozen=True)
class ArmScore:
    """Verified gains of an arm's finished runs, in the order of the seed list; task's unit, positive is better."""

    arm_id: str
    raced: bool
    gains: tuple[float, ...]


@dataclass(frozen=True)
class RaceStart:
    """What a race is planned to be: every arm gets ``first`` runs, the best ``keep`` of the raced ones ``more``.

    That is what halving does; another rule may give its runs otherwise, ``most`` in all to the raced arms.
    """

    arms: Mapping[str, bool]  # whether each is raced; others, A/A twins say, get the first runs only
    first: int
    keep: int
    more: int
    most: int
    batch: int  # runs that the workers carry out at a time
    seed: int  # of what the rule draws

    @property
    def raced(self) -> int:
        return sum(self.arms.values())


class Racer(Protocol):
    """Decides after each round which arms run on further seeds of the common list.

    A round that was cut short is asked for again, and a race taken up again goes where it went before: the answer
    depends on nothing but ``scores``, of which the runs of earlier rounds are a prefix.
    """

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        """Total number of runs wanted of each arm named, all more than it has; empty when the race is over."""
        ...


def shrunken(gains: Sequence[Sequence[float]]) -> list[float]:
    """Empirical-Bayes means of the arms' gains."""
    return [score.shrunk.or_zero for score in posterior([mean_interval(arm) for arm in gains])]
