"""The referee's scoring: raw float32 logits of an untrusted process against targets that it never saw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

from programs.errors import TaskError


class InvalidPredictions(Exception):
    """Predictions of the wrong size, or not finite; the candidate's fault."""


DIVERGED = 2.0  # a loss of so many times a blind guess's is no model: it is told as invalid, not as a number


class Scorer(Protocol):
    """Scores a file of raw logits on a split; lower or higher is better as the task says."""

    per_position: bool  # logits for each position of a row (language models), or one vector per row

    def score(self, predictions: Path, split: Path) -> float: ...


def _mean_nll_parts(predictions: Path, targets: Any, classes: int) -> Any:
    """Negative log-likelihood in nats of each target, float64 [n]; the log-softmax is our own."""
    import numpy as np

    flat = targets.reshape(-1)
    expected = flat.size * classes * 4
    size = predictions.stat().st_size if predictions.is_file() and not predictions.is_symlink() else 0
    if size != expected:
        raise InvalidPredictions(f"predictions have {size} bytes, expected {expected}")
    logits = np.memmap(predictions, dtype=np.float32, mode="r", shape=(flat.size, classes))
    losses = np.empty(flat.size)
    step = max(1, (1 << 20) // classes)  # about 8 MB of float64 at a time
    for start in range(0, flat.size, step):
        part = logits[start : start + step]
        if not np.isfinite(part).all():
            raise InvalidPredictions("predictions are not finite")
        rows = part.astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        picked = rows[np.arange(len(rows)), np.maximum(flat[start : start + step], 0)]
        np.exp(rows, out=rows)
        losses[start : start + step] = np.log(rows.sum(axis=1)) - picked
    return losses


def refuse_diverged(loss: float, guess: float, unit: str) -> float:
    """``loss``, unless it is far worse than guessing all classes alike: one such seed would outweigh a whole study."""
    if loss > DIVERGED * guess:
        raise InvalidPredictions(f"diverged: {loss:.4g} {unit}, a blind guess gets {guess:.4g}")
    return loss


class Classification:
    """Mean negative log-likelihood over the rows, in nats."""

    per_position = False

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def score(self, predictions: Path, split: Path) -> float:
        import numpy as np

        losses = _mean_nll_parts(predictions, np.load(split / "targets.npy"), self.classes)
        return refuse_diverged(float(losses.mean()), math.log(self.classes), "nats")


class LanguageModel:
    """Bits per byte: the targets' total information over the bytes that they stand for. Targets < 0 do not count."""

    per_position = True

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def score(self, predictions: Path, split: Path) -> float:
        import numpy as np

        targets = np.load(split / "targets.npy")
        losses = _mean_nll_parts(predictions, targets, self.classes)
        counted = targets.reshape(-1) >= 0
        size = float(np.load(split / "bytes.npy").sum()) * math.log(2)
        guess = int(counted.sum()) * math.log(self.classes) / size
        return refuse_diverged(float(losses[counted].sum()) / size, guess, "bits per byte")


KINDS: dict[str, Any] = {"classification": Classification, "language_model": LanguageModel}


def scorer_kind(kind: str) -> Any:
    """The class of scorer that a task names; those not built in are found by entry point ``metaloop.scorers``."""
    if kind not in KINDS:
        from importlib.metadata import entry_points

        found = [point for point in entry_points(group="metaloop.scorers") if point.name == kind]
        if not found:
            raise TaskError(f"no scorer {kind!r}", hint=f"task.toml [score] kind is one of {', '.join(KINDS)}")
        KINDS[kind] = found[0].load()
    return KINDS[kind]


def make_scorer(scoring: dict[str, Any]) -> Scorer:
    """The scorer of a task's ``[score]`` section."""
    scorer: Scorer = scorer_kind(scoring["kind"])(scoring["classes"])
    return scorer
