"""Scores a regression: root mean squared error on the hidden rows, in standard deviations of their targets.

Predicting the targets' mean has the score 1. The candidate gets only the inputs; its `logits` returns [rows, 1].
"""

from __future__ import annotations

from typing import Any

from trainer.scoring import (
    InvalidPredictions,
    Referee,
    Score,
    ScoreSettings,
    predict_among,
    refuse_different,
    refuse_diverged,
)

_SHARE = 4  # a verification predicts one row in four again


class Regression:
    """Standard deviations. ``[score] tolerance``: allowed difference of a row's error between processes."""

    per_position = False
    needs_checkpoint = True

    def __init__(self, scoring: ScoreSettings) -> None:
        self.tolerance: float = scoring.get("tolerance", 1e-3)

    def score(self, referee: Referee) -> Score:
        import numpy as np

        inputs, targets = (np.load(referee.split / f"{name}.npy") for name in ("inputs", "targets"))
        scale = float(targets.std())
        errors = _errors(referee.predict(inputs), targets, scale)
        if referee.verifying and not referee.checked:
            self._verify(referee, inputs, targets, errors)
        metric = refuse_diverged(float(np.sqrt((errors**2).mean())), 1.0, "standard deviations")
        return Score(metric, "verified" if referee.verifying else "scored")

    def _verify(self, referee: Referee, inputs: Any, targets: Any, errors: Any) -> None:
        """Predict some rows again, among other rows and in another process: their predictions must not change.

        This detects a model that learns from the rows it predicts. All rows have targets below the median, so that
        their statistics differ from those of all rows.
        """
        import numpy as np

        rng = referee.rng("rows")
        chosen = rng.permutation(np.flatnonzero(targets <= np.median(targets)))[: max(1, len(inputs) // _SHARE)]
        public, theirs = (np.load(referee.public_split / f"{name}.npy") for name in ("inputs", "targets"))
        low = rng.permutation(np.flatnonzero(theirs <= np.median(theirs)))[: len(chosen)]
        again = _errors(predict_among(referee, inputs[chosen], public[low], rng), targets[chosen], float(targets.std()))
        what = "a row's prediction depends on the other rows"
        refuse_different(errors[chosen], again, self.tolerance, what, "standard deviations")


def _errors(answers: Any, targets: Any, scale: float) -> Any:
    """Prediction minus target, float64 [n], in standard deviations; InvalidPredictions if not finite."""
    import numpy as np

    if not np.isfinite(answers).all():
        raise InvalidPredictions("predictions are not finite")
    return (answers[:, 0].astype(np.float64) - targets) / scale


make = Regression
