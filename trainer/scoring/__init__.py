"""The interfaces of scoring: a scorer turns answers of untrusted processes into a metric, with a referee's help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, get_args

from programs.errors import NotFound, TaskError
from programs.registry import Registry
from trainer.outcome import Trust

if TYPE_CHECKING:
    from pydantic import JsonValue

    from trainer.scoring.streaming import Channel

T = TypeVar("T")
SCORED_WITHOUT_ITS_CODE = ("classification", "regression", "language_model", "printed", "simulated")  # kinds of [score]


class ScoreSettings(TypedDict):
    """The section [score] of task.toml, see `trainer.task_file.ScoreSection`."""

    kind: str
    classes: int
    chunk: int
    checkpoint_mb: int
    stream_kb: int
    tolerance: float
    seconds: float
    pattern: str
    file: str
    key: str


@dataclass(frozen=True)
class Score:
    """A metric with its trust level and findings (one line each, ``kind: text``).

    A scorer can only lower the trust: the trainer takes no more than the stream gives (``lowest``), and at most
    self-reported if the scorer read the output of train.py and got no answer from the model.
    """

    metric: float
    trust: Trust
    findings: tuple[str, ...] = ()


def lowest(*trusts: Trust) -> Trust:
    """The weakest of these. Raises TaskError for a level that a scorer invented."""
    order = get_args(Trust)
    if unknown := set(trusts) - set(order):
        raise TaskError(f"a scorer returned the trust {unknown.pop()!r}", hint=f"one of {', '.join(order)}")
    return min(trusts, key=order.index)


class Referee(Protocol):
    """What a scorer can use: the hidden data, and fresh processes of the candidate."""

    @property
    def task_folder(self) -> Path:
        """The task's trusted files."""

    @property
    def split(self) -> Path:
        """The hidden split of the stream."""

    @property
    def public_split(self) -> Path:
        """The search split, on which the researcher's feedback is scored."""

    @property
    def verifying(self) -> bool:
        """Whether the score must be `verified`: on the streams confirmation and reserve."""

    @property
    def log(self) -> str:
        """The output of train.py, up to a limit. A score from it alone is at most self-reported."""

    def rng(self, label: str) -> Any:
        """A numpy Generator that the candidate cannot predict.

        It does not depend on the source, so that equal models with equal seeds have bit-equal metrics.
        """

    def predict(self, inputs: Any) -> Any:
        """A private copy of a fresh process's logits, float32 [rows, (positions,) classes]. InvalidPredictions."""

    def converse(self, settings: dict[str, JsonValue], reply_bytes: int, talk: Callable[[Channel], T]) -> T:
        """Run ``talk`` with a fresh process that answers symbol by symbol (`trainer.inside.serving`)."""


class Scorer(Protocol):
    """Computes the Score of a candidate; the task defines whether lower or higher is better."""

    per_position: bool  # logits for each position of a row (language models), or one vector per row
    needs_checkpoint: bool

    def score(self, referee: Referee) -> Score:
        """InvalidPredictions for the candidate's fault, TaskError for the task's."""


MakeScorer = Callable[[ScoreSettings], Scorer]
SCORERS: Registry[MakeScorer] = Registry("scorers", "trainer.scorers", ("section",), joint="_")


def scorer_kind(kind: str) -> MakeScorer:
    """The factory of the scorer that a task names. Raises TaskError."""
    try:
        return SCORERS.get(kind)
    except NotFound as error:
        raise TaskError(error.message, hint=f"task.toml [score] kind is one of {', '.join(SCORERS.names)}") from None


def scorer_of(scoring: ScoreSettings) -> Scorer:
    """The scorer of a task's ``[score]`` section."""
    return scorer_kind(scoring["kind"])(scoring)
