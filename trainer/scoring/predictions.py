"""Checks predictions of an untrusted process, and computes their likelihood with our own softmax."""

from __future__ import annotations

from typing import Any

DIVERGED = 2.0  # a loss above this multiple of a uniform prediction's counts as invalid
_PART = 1 << 20  # numbers processed at a time: 8 MB of float64


class InvalidPredictions(Exception):
    """Predictions that are of the wrong size, not finite, too late, or inconsistent; the candidate's fault."""


def negative_log_likelihood(logits: Any, targets: Any) -> Any:
    """Nats of each target, float64 [n], by our own log-softmax of ``logits`` [n, classes]; 0 for targets below 0.

    The softmax normalises the logits, so unnormalised ones gain nothing. InvalidPredictions if they are not finite.
    """
    import numpy as np

    losses = np.empty(len(targets))
    step = max(1, _PART // logits.shape[1])
    for start in range(0, len(targets), step):
        part, wanted = logits[start : start + step], targets[start : start + step]
        if not np.isfinite(part).all():
            raise InvalidPredictions("predictions are not finite")
        rows = part.astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        picked = rows[np.arange(len(rows)), np.maximum(wanted, 0)]
        np.exp(rows, out=rows)
        losses[start : start + step] = np.where(wanted < 0, 0.0, np.log(rows.sum(axis=1)) - picked)
    return losses


def refuse_diverged(loss: float, guess: float, unit: str) -> float:
    """``loss``, unless it is far above that of a uniform prediction: one such seed would dominate a study's average."""
    if loss > DIVERGED * guess:
        raise InvalidPredictions(f"diverged: {loss:.4g} {unit}, a uniform prediction has {guess:.4g}")
    return loss


def predict_among(referee: Any, inputs: Any, company: Any, rng: Any) -> Any:
    """Predictions of ``inputs`` when they are asked for in random order among the rows of ``company``."""
    import numpy as np

    order = rng.permutation(len(inputs) + len(company))
    positions = np.argsort(order)[: len(inputs)]  # of the inputs
    return referee.predict(np.concatenate([inputs, company.astype(inputs.dtype)])[order])[positions]


def refuse_different(first: Any, second: Any, tolerance: float, what: str, unit: str = "nats") -> None:
    """InvalidPredictions unless two arrays of losses agree within ``tolerance``, absolute plus relative."""
    import numpy as np

    apart = np.abs(first - second)
    if wrong := int((apart > tolerance * (1.0 + np.abs(first))).sum()):
        raise InvalidPredictions(f"{what}: {wrong} of {apart.size} differ, by up to {apart.max():.3g} {unit}")
