"""Knockout: each round the arm with the lowest mean leaves, or as many as cannot be paid for; the others run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from arena.race import ArmScore, RaceStart


class Knockout:
    """The answer depends on the scores alone, of which earlier rounds are a prefix: so a stopped race can go on."""

    def __init__(self, first: int, most: int) -> None:
        self.first, self.most = first, most

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        short = {arm.arm_id: self.first for arm in scores if len(arm.gains) < self.first}
        if short:
            return short
        left, runs = [arm for arm in scores if arm.raced], self.first
        spent = len(left) * runs
        while (size := min(len(left) - 1, self.most - spent)) > 1:
            left = sorted(left, key=lambda arm: -fmean(arm.gains[:runs]))[:size]
            runs, spent = runs + 1, spent + size
            if short := {arm.arm_id: runs for arm in left if len(arm.gains) < runs}:
                return short
        return {}


def make(start: RaceStart) -> Knockout:
    return Knockout(start.first, start.most)
