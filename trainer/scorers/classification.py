"""Score of a classifier: mean negative log-likelihood of the hidden rows. Only inputs go in; the labels stay here."""

from __future__ import annotations

import math
from typing import Any

from trainer.predictions import negative_log_likelihood, refuse_different, refuse_diverged
from trainer.scoring import Referee, Score

_SHARE = 4  # one row of so many is predicted again where the score is to be verified


class Classification:
    """Nats per row. ``[score] tolerance``: how far the losses of one row may differ between processes, nats."""

    per_position = False
    needs_checkpoint = True

    def __init__(self, scoring: dict[str, Any]) -> None:
        self.classes: int = scoring["classes"]
        self.tolerance: float = scoring.get("tolerance", 1e-3)

    def score(self, referee: Referee) -> Score:
        import numpy as np

        inputs, targets = (np.load(referee.split / f"{name}.npy") for name in ("inputs", "targets"))
        losses = negative_log_likelihood(referee.predict(inputs), targets)
        if referee.verifying:
            self._verify(referee, inputs, targets, losses)
        metric = refuse_diverged(float(losses.mean()), math.log(self.classes), "nats")
        return Score(metric, "verified" if referee.verifying else "scored")

    def _verify(self, referee: Referee, inputs: Any, targets: Any, losses: Any) -> None:
        """A row's prediction must not hang on its company: some rows again, among others, in another process.

        A model that learns from the rows it is asked about (statistics of the batch, clusters of the test set) gives
        itself away by this, without being asked how it works. All rows are of half of the classes, so that statistics
        differ by far more than rounding hides.
        """
        import numpy as np

        rng = referee.rng("rows")
        some = rng.permutation(self.classes)[: max(1, self.classes // 2)]
        chosen = _of_classes(rng, targets, some)[: max(1, len(inputs) // _SHARE)]
        public, theirs = (np.load(referee.public_split / f"{name}.npy") for name in ("inputs", "targets"))
        company = public[_of_classes(rng, theirs, some)[: len(chosen)]].astype(inputs.dtype)
        order = rng.permutation(len(chosen) + len(company))
        positions = np.argsort(order)[: len(chosen)]  # where the chosen rows went
        logits = referee.predict(np.concatenate([inputs[chosen], company])[order])[positions]
        again = negative_log_likelihood(logits, targets[chosen])
        refuse_different(losses[chosen], again, self.tolerance, "a row's prediction depends on the other rows")


def _of_classes(rng: Any, targets: Any, classes: Any) -> Any:
    """Places of the rows of these classes, in drawn order; of all rows, where there is none."""
    import numpy as np

    rows = np.flatnonzero(np.isin(targets, classes))
    return rng.permutation(rows if len(rows) else len(targets))


make = Classification
