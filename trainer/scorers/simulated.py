"""Placeholder scorer of simulated tasks, whose law gives the metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs.common.errors import TaskError
from trainer.scoring import Score, ScoreSettings

if TYPE_CHECKING:
    from trainer.scoring.referee import Referee


class Unscored:
    """Scorer of the kind simulated: there are no predictions, and the law gives the metric."""

    per_position = False
    needs_checkpoint = False

    def __init__(self, scoring: ScoreSettings) -> None:
        """``[score]`` has no further settings for this kind."""

    def score(self, referee: Referee) -> Score:
        raise TaskError("a simulated task has nothing to score", hint="its law gives the metric")


make = Unscored
