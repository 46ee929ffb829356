"""Sequential halving: everyone runs a little, the better part runs more (Karnin, Koren and Somekh 2013)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.racers.contract import ArmScore, RaceStart, shrunken


@dataclass(frozen=True)
class Stage:
    """The best ``keep`` raced arms (None: all) are brought to ``runs`` runs each."""

    keep: int | None
    runs: int


class SequentialHalving:
    """Stages over shrunken means. Few rounds, all runs of a round at once: for many workers.

    Arms that are not raced (A/A twins, say) get the runs of the first stage. Means are shrunk towards the
    grand mean by empirical Bayes, so that one lucky run of a noisy arm does not promote it.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)

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


def make(start: RaceStart) -> SequentialHalving:
    return SequentialHalving([Stage(None, start.first), Stage(start.keep, start.more)])
