"""Scores a regression: root mean squared error on the hidden rows, in standard deviations of their targets.

Predicting the targets' mean has the score 1. The candidate gets only the inputs; its `logits` returns [rows, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trainer.scoring import InvalidPredictions, RowScorer, refuse_diverged


class Regression(RowScorer):
    """Standard deviations. A verification has rows with targets below the median."""

    unit = "standard deviations"

    def losses(self, answers: Any, targets: Any, scale: float) -> Any:
        """Prediction minus target, float64 [n]; InvalidPredictions if not finite."""
        import numpy as np

        if not np.isfinite(answers).all():
            raise InvalidPredictions("predictions are not finite")
        return (answers[:, 0].astype(np.float64) - targets) / scale

    def metric(self, losses: Any) -> float:
        return refuse_diverged(math.sqrt((losses**2).mean()), 1.0, self.unit)

    def kind_of_rows(self, rng: Any) -> Callable[[Any], Any]:
        import numpy as np

        return lambda targets: np.flatnonzero(targets <= np.median(targets))


make = Regression
