"""The referee's scoring: raw float32 logits of an untrusted process against targets that it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from programs.errors import TaskError
from trainer.outcome import Trust

if TYPE_CHECKING:
    from trainer.streaming import Channel

T = TypeVar("T")

DIVERGED = 2.0  # a loss of so many times a blind guess's is no model: it is told as invalid, not as a number
_PART = 1 << 20  # numbers whose softmax is taken at a time: 8 MB of float64


class InvalidPredictions(Exception):
    """Predictions of the wrong size, not finite, too late, or not what they claim; the candidate's fault."""


@dataclass(frozen=True)
class Score:
    """A metric, how far it can be trusted, and what was found on the way (one line each, ``kind: text``)."""

    metric: float
    trust: Trust
    findings: tuple[str, ...] = ()


class Referee(Protocol):
    """What a scorer may ask for: the hidden data, and fresh processes of the candidate."""

    @property
    def task_folder(self) -> Path:
        """The task's trusted files."""

    @property
    def split(self) -> Path:
        """The hidden split of the stream."""

    @property
    def public_split(self) -> Path:
        """The search split: what the researcher's feedback is scored on."""

    @property
    def verifying(self) -> bool:
        """Whether the score must be `verified`: on the streams confirmation and reserve."""

    @property
    def log(self) -> str:
        """What train.py printed, bounded."""

    @property
    def fraction(self) -> float:
        """The share of a full budget that the experiment has: 1.0, less in a screening."""

    @property
    def steps(self) -> int:
        """Training steps that this share comes to, of ``[budget] steps``."""

    def charge(self, cpu_seconds: float) -> None:
        """Book what a trusted process has used for this score, beside the candidate's and the thread that scores."""

    def rng(self, label: str) -> Any:
        """A numpy Generator that the candidate cannot foresee.

        It does not depend on the source: equal models under equal seeds then have bit-equal metrics.
        """

    def predict(self, inputs: Any) -> Any:
        """Logits float32 [rows, (positions,) classes] of a fresh process, a private copy. InvalidPredictions."""

    def converse(
        self, kind: str, settings: dict[str, Any], reply_bytes: int, talk: Callable[[Channel], T],
        *, instead: Path | None = None, library: bytes = b"",
    ) -> T:  # fmt: skip
        """Run ``talk`` with a fresh process that serves the loop ``kind`` of `trainer.inside.serving`.

        ``instead`` is a file of the task folder to run in place of the candidate's train.py; ``library`` is a shared
        object that answers, and then no Python of either is run.
        """

    def build(self) -> bytes:
        """The shared object of the checkpoint, which is C source, from a compiler in a sandbox. InvalidPredictions."""


class Scorer(Protocol):
    """Turns what a candidate can do into a Score; lower or higher is better as the task says."""

    per_position: bool  # logits for each position of a row (language models), or one vector per row
    needs_checkpoint: bool

    def score(self, referee: Referee) -> Score:
        """InvalidPredictions for the candidate's fault, TaskError for the task's."""


def negative_log_likelihood(logits: Any, targets: Any) -> Any:
    """Nats of each target, float64 [n], by our own log-softmax of ``logits`` [n, classes]; 0 for targets below 0.

    Raw logits whose probabilities would sum to anything else than 1 gain nothing. InvalidPredictions if not finite.
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
    """``loss``, unless it is far worse than guessing all classes alike: one such seed would outweigh a whole study."""
    if loss > DIVERGED * guess:
        raise InvalidPredictions(f"diverged: {loss:.4g} {unit}, a blind guess gets {guess:.4g}")
    return loss


def refuse_different(first: Any, second: Any, tolerance: float, what: str) -> None:
    """InvalidPredictions unless two arrays of losses agree within ``tolerance``, absolute plus relative."""
    import numpy as np

    apart = np.abs(first - second)
    if wrong := int((apart > tolerance * (1.0 + np.abs(first))).sum()):
        raise InvalidPredictions(f"{what}: {wrong} of {apart.size} differ, by up to {apart.max():.3g} nats")


KINDS: dict[str, str] = {
    "classification": "trainer.classification:Classification",
    "language_model": "trainer.language_model:LanguageModel",
    "kernel": "trainer.kernel:Kernel",
    "optimizer": "trainer.optimizer:Optimizer",
    "printed": "trainer.printed:Printed",
    "simulated": "trainer.simulated:Unscored",
}


def scorer_kind(kind: str) -> Any:
    """The class of scorer that a task names; those not built in are found by entry point ``metaloop.scorers``."""
    from importlib.metadata import EntryPoint, entry_points

    if kind in KINDS:
        return EntryPoint(kind, KINDS[kind], "metaloop.scorers").load()
    found = [point for point in entry_points(group="metaloop.scorers") if point.name == kind]
    if not found:
        raise TaskError(f"no scorer {kind!r}", hint=f"task.toml [score] kind is one of {', '.join(KINDS)}")
    return found[0].load()


def scorer_of(scoring: dict[str, Any]) -> Scorer:
    """The scorer of a task's ``[score]`` section."""
    scorer: Scorer = scorer_kind(scoring["kind"])(scoring)
    return scorer
