"""Scores a classifier: mean negative log-likelihood of the hidden rows. The candidate gets only the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trainer.scoring import RowScorer, negative_log_likelihood, refuse_diverged


class Classification(RowScorer):
    """Nats per row. A verification has rows of half of the classes."""

    unit = "nats"

    def losses(self, answers: Any, targets: Any, scale: float) -> Any:
        return negative_log_likelihood(answers, targets)

    def metric(self, losses: Any) -> float:
        return refuse_diverged(float(losses.mean()), math.log(self.classes), self.unit)

    def kind_of_rows(self, rng: Any) -> Callable[[Any], Any]:
        """Indices of the rows of some classes; of all rows if there are none."""
        import numpy as np

        some = rng.permutation(self.classes)[: max(1, self.classes // 2)]

        def of_classes(targets: Any) -> Any:
            rows = np.flatnonzero(np.isin(targets, some))
            return rows if len(rows) else np.arange(len(targets))

        return of_classes


make = Classification
