"""The referee's scoring: raw float32 logits of an untrusted process against targets that it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from programs.errors import NotFound, TaskError
from programs.registry import Registry
from trainer.outcome import Trust

if TYPE_CHECKING:
    from trainer.streaming import Channel

T = TypeVar("T")


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


MakeScorer = Callable[[dict[str, Any]], Scorer]  # of the section [score] of task.toml
SCORERS: Registry[MakeScorer] = Registry("scorers", "trainer.scorers", ("section",), joint="_")


def scorer_kind(kind: str) -> MakeScorer:
    """What makes the scorer that a task names. Raises TaskError."""
    try:
        return SCORERS.get(kind)
    except NotFound as error:
        raise TaskError(error.message, hint=f"task.toml [score] kind is one of {', '.join(SCORERS.names)}") from None


def scorer_of(scoring: dict[str, Any]) -> Scorer:
    """The scorer of a task's ``[score]`` section."""
    return scorer_kind(scoring["kind"])(scoring)
