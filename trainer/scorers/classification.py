"""Scores a classifier: mean negative log-likelihood of the hidden rows. The candidate gets only the inputs."""

from __future__ import annotations

import math
from typing import Any

from trainer.scoring import (
    Referee,
    Score,
    ScoreSettings,
    negative_log_likelihood,
    predict_among,
    refuse_different,
    refuse_diverged,
)

_SHARE = 4  # a verification predicts one row in four again


class Classification:
    """Nats per row. ``[score] tolerance``: allowed difference of a row's losses between processes, nats."""

    per_position = False
    needs_checkpoint = True

    def __init__(self, scoring: ScoreSettings) -> None:
        self.classes: int = scoring["classes"]
        self.tolerance: float = scoring.get("tolerance", 1e-3)

    def score(self, referee: Referee) -> Score:
        import numpy as np

        inputs, targets = (np.load(referee.split / f"{name}.npy") for name in ("inputs", "targets"))
        losses = negative_log_likelihood(referee.predict(inputs), targets)
        if referee.verifying and not referee.checked:
            self._verify(referee, inputs, targets, losses)
        metric = refuse_diverged(float(losses.mean()), math.log(self.classes), "nats")
        return Score(metric, "verified" if referee.verifying else "scored")

    def _verify(self, referee: Referee, inputs: Any, targets: Any, losses: Any) -> None:
        """Predict some rows again, among other rows and in another process: their predictions must not change.

        This detects a model that learns from the rows it predicts (batch statistics, clusters of the test set). All
        rows belong to half of the classes, so that their statistics differ far more than by rounding.
        """
        import numpy as np

        rng = referee.rng("rows")
        some = rng.permutation(self.classes)[: max(1, self.classes // 2)]
        chosen = _of_classes(rng, targets, some)[: max(1, len(inputs) // _SHARE)]
        public, theirs = (np.load(referee.public_split / f"{name}.npy") for name in ("inputs", "targets"))
        company = public[_of_classes(rng, theirs, some)[: len(chosen)]]
        again = negative_log_likelihood(predict_among(referee, inputs[chosen], company, rng), targets[chosen])
        refuse_different(losses[chosen], again, self.tolerance, "a row's prediction depends on the other rows")


def _of_classes(rng: Any, targets: Any, classes: Any) -> Any:
    """Indices of the rows of these classes, in random order; of all rows if there are none."""
    import numpy as np

    rows = np.flatnonzero(np.isin(targets, classes))
    return rng.permutation(rows if len(rows) else len(targets))


make = Classification
