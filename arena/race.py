"""Racers: how many runs each arm of a match gets. Arms differ in number of runs, never in budget per run."""

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


class Racer(Protocol):
    """Decides after each round which arms run on further seeds of the common list."""

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        """Total number of runs wanted of each arm named; empty when the race is over."""
        ...


@dataclass(frozen=True)
class Stage:
    """The best ``keep`` raced arms (None: all) are brought to ``runs`` runs each."""

    keep: int | None
    runs: int


class SequentialHalving:
    """Stages over shrunken means: everyone runs a little, the better part runs more (Karnin et al. 2013).

    Arms that are not raced (A/A twins, say) get the runs of the first stage. Means are shrunk towards the
    grand mean by empirical Bayes, so that one lucky run of a noisy arm does not promote it.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)

    @classmethod
    def halve(cls, arms: int, first: int, last: int) -> SequentialHalving:
        """Halve ``arms`` from ``first`` runs each until the remaining two have ``last`` runs or more."""
        stages, keep, runs = [Stage(None, first)], arms, first
        while keep > 2 and runs < last:
            keep, runs = max(2, keep // 2), min(last, runs * 2)
            stages.append(Stage(keep, runs))
        return cls(stages)

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        for number, stage in enumerate(self.stages):
            chosen = scores if number == 0 else self._best(scores, number)
            wanted = {arm.arm_id: stage.runs for arm in chosen if len(arm.gains) < stage.runs}
            if wanted:
                return wanted
        return {}

    def _best(self, scores: Sequence[ArmScore], stage: int) -> list[ArmScore]:
        """The arms that earn stage ``stage``, judged on the runs that the stages before it gave."""
        alive = [arm for arm in scores if arm.raced]
        for before, here in zip(self.stages, self.stages[1 : stage + 1], strict=False):
            gains = [arm.gains[: before.runs] for arm in alive]
            if any(len(g) < before.runs for g in gains):
                return []
            means = shrunken(gains)
            order = sorted(range(len(alive)), key=lambda i: (-means[i], i))
            alive = [alive[i] for i in order[: here.keep]]
        return alive


def shrunken(gains: Sequence[Sequence[float]]) -> list[float]:
    """Empirical-Bayes means of the arms' gains."""
    measured = [mean_interval(arm) for arm in gains]
    scored = posterior([m.mean or 0.0 for m in measured], [m.se for m in measured], [m.n for m in measured])
    return [score.shrunk_mean for score in scored]


class Allocation:
    """A fixed number of runs for each arm: for confirmations and for contests whose rules say so."""

    def __init__(self, runs: Mapping[str, int]) -> None:
        self.runs = dict(runs)

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        return {a.arm_id: self.runs[a.arm_id] for a in scores if len(a.gains) < self.runs[a.arm_id]}
