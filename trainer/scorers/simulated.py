"""Of a simulated task, whose law gives the metric: nothing is scored."""

from __future__ import annotations

from typing import Any

from programs.errors import TaskError
from trainer.scoring import Referee, Score


class Unscored:
    """Scorer of the kind simulated: there are no predictions, the law tells the metric."""

    per_position = False
    needs_checkpoint = False

    def __init__(self, scoring: dict[str, Any]) -> None:
        """Nothing of ``[score]`` but its kind is read."""

    def score(self, referee: Referee) -> Score:
        raise TaskError("a simulated task has nothing to score", hint="make its trainer by trainer_for")


make = Unscored
