"""Fixed numbers of runs: for confirmations, and for contests whose rules say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena.racers.contract import ArmScore, RaceStart


class Allocation:
    """A fixed number of runs for each arm, whatever it gains."""

    def __init__(self, runs: Mapping[str, int]) -> None:
        self.runs = dict(runs)

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        return {a.arm_id: self.runs[a.arm_id] for a in scores if len(a.gains) < self.runs[a.arm_id]}


def make(start: RaceStart) -> Allocation:
    """As many runs for every raced arm as the plan pays for."""
    runs_each = start.most // max(1, start.raced)
    return Allocation({arm: runs_each if raced else start.first for arm, raced in start.arms.items()})
