"""The share of hidden rows whose class is wrong: `[score] kind = "error_rate"` in a classification task."""

from __future__ import annotations

import numpy as np

from trainer.scoring import Score, ScoreSettings
from trainer.scoring.referee import Referee


class ErrorRate:
    """Lower is better. The labels stay here: the candidate gets the inputs only."""

    per_position = False
    needs_checkpoint = True

    def __init__(self, section: ScoreSettings) -> None:
        """Reads no key of ``[score]`` by itself; the referee reads `classes` and `chunk`."""

    def score(self, referee: Referee) -> Score:
        inputs, targets = (np.load(referee.split / f"{name}.npy") for name in ("inputs", "targets"))
        wrong = referee.predict(inputs).argmax(axis=1) != targets
        return Score(float(wrong.mean()), "scored")


make = ErrorRate
