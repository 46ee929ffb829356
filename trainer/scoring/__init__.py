"""The interfaces of scoring: a scorer turns answers of untrusted processes into a metric, with a referee's help."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, get_args

from programs.common.errors import NotFound, TaskError
from programs.common.registry import Registry
from trainer.outcome import Status, Trust

if TYPE_CHECKING:
    from trainer.scoring.referee import Referee

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
    rows: str
    n_rows: int | None
    held_back: float | None
    exact: bool


@dataclass(frozen=True)
class Score:
    """A metric with its trust level and findings (one line each, ``kind: text``).

    A scorer can only lower the trust: the trainer takes no more than the stream gives (``lowest``), and at most
    self-reported if the scorer read the output of train.py and got no answer from the model.
    """

    metric: float
    trust: Trust
    findings: tuple[str, ...] = ()
    splits: Mapping[str, float] = field(default_factory=dict)  # metric by the label of a hidden split, of several


def mean_score(scores: Mapping[str, Score]) -> Score:
    """The score of one training on several hidden splits, by their labels: the mean metric, the weakest trust."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    metrics = {label: score.metric for label, score in scores.items()}
    findings = dict.fromkeys(finding for score in scores.values() for finding in score.findings)
    trust = lowest(*(score.trust for score in scores.values()))
    return Score(math.fsum(metrics.values()) / len(metrics), trust, tuple(findings), metrics)


def lowest(*trusts: Trust) -> Trust:
    """The weakest of these. Raises TaskError for a level that a scorer invented."""
    order = get_args(Trust)
    if unknown := set(trusts) - set(order):
        raise TaskError(f"a scorer returned the trust {unknown.pop()!r}", hint=f"one of {', '.join(order)}")
    return min(trusts, key=order.index)


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


DIVERGED = 2.0  # a loss above this multiple of a uniform prediction's counts as invalid
_PART = 1 << 20  # numbers processed at a time: 8 MB of float64


class Failed(Exception):
    """The candidate failed, with the status and reason for its Outcome."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = " ".join(reason.split())  # on one line, whatever the candidate raised


class InvalidPredictions(Failed):
    """Predictions that are of the wrong size, not finite, too late, or inconsistent; the candidate's fault."""

    def __init__(self, reason: str) -> None:
        super().__init__("invalid", reason)


def finite_logits(logits: Any) -> Any:
    """A copy in float64, [n, classes], less the largest of each row. InvalidPredictions if they are not finite."""
    import numpy as np

    if not np.isfinite(logits).all():
        raise InvalidPredictions("predictions are not finite")
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return rows


def negative_log_likelihood(logits: Any, targets: Any) -> Any:
    """Nats of each target, float64 [n], by our own log-softmax of ``logits`` [n, classes]; 0 for targets below 0.

    The softmax normalises the logits, so unnormalised ones gain nothing. InvalidPredictions if they are not finite.
    """
    import numpy as np

    losses = np.empty(len(targets))
    step = max(1, _PART // logits.shape[1])
    for start in range(0, len(targets), step):
        part, wanted = logits[start : start + step], targets[start : start + step]
        rows = finite_logits(part)
        picked = rows[np.arange(len(rows)), np.maximum(wanted, 0)]
        np.exp(rows, out=rows)
        losses[start : start + step] = np.where(wanted < 0, 0.0, np.log(rows.sum(axis=1)) - picked)
    return losses


def refuse_diverged(loss: float, guess: float, unit: str) -> float:
    """``loss``, unless it is far above that of a uniform prediction: one such seed would dominate a study's average."""
    if loss > DIVERGED * guess:
        raise InvalidPredictions(f"diverged: {loss:.4g} {unit}, a uniform prediction has {guess:.4g}")
    return loss


def refuse_different(first: Any, second: Any, tolerance: float, what: str, unit: str = "nats") -> None:
    """InvalidPredictions unless two arrays of losses agree within ``tolerance``, absolute plus relative."""
    import numpy as np

    apart = np.abs(first - second)
    if wrong := int((apart > tolerance * (1.0 + np.abs(first))).sum()):
        raise InvalidPredictions(f"{what}: {wrong} of {apart.size} differ, by up to {apart.max():.3g} {unit}")


_SHARE = 4  # a verification predicts one row in four again


class RowScorer:
    """A scorer of rows that are predicted independently of each other. ``[score] tolerance``: allowed difference of the
    loss of a row between processes, in ``unit``.

    A verification predicts some rows again, among other rows and in another process: their losses must not change. This
    detects a model that learns from the rows it predicts (batch statistics, clusters of the test set). The rows are of
    a kind whose statistics differ far from those of all rows.
    """

    per_position = False
    needs_checkpoint = True
    unit: str

    def __init__(self, scoring: ScoreSettings) -> None:
        self.classes: int = scoring["classes"]
        self.tolerance: float = scoring.get("tolerance", 1e-3)

    def losses(self, answers: Any, targets: Any, scale: float) -> Any:
        """The loss of each row, [n]. ``scale``: SD of all targets."""
        raise NotImplementedError

    def metric(self, losses: Any) -> float:
        """InvalidPredictions if it diverged."""
        raise NotImplementedError

    def kind_of_rows(self, rng: Any) -> Callable[[Any], Any]:
        """A function of targets, which gives the indices of the rows of one kind."""
        raise NotImplementedError

    def score(self, referee: Referee) -> Score:
        inputs, targets = read_rows(referee.split)
        scale = float(targets.std())
        losses = self.losses(referee.predict(inputs), targets, scale)
        if referee.verifying and not referee.checked:
            rng = referee.rng("rows")
            of_a_kind = self.kind_of_rows(rng)
            chosen = rng.permutation(of_a_kind(targets))[: max(1, len(inputs) // _SHARE)]
            public, theirs = read_rows(referee.public_split)
            company = public[rng.permutation(of_a_kind(theirs))[: len(chosen)]]
            losses_again = self.losses(_predict_among(referee, inputs[chosen], company, rng), targets[chosen], scale)
            what = "a row's prediction depends on the other rows"
            refuse_different(losses[chosen], losses_again, self.tolerance, what, self.unit)
        return Score(self.metric(losses), "verified" if referee.verifying else "scored")


def read_rows(split: Path) -> tuple[Any, Any]:
    """The inputs and the targets of a split."""
    import numpy as np

    return np.load(split / "inputs.npy"), np.load(split / "targets.npy")


def _predict_among(referee: Referee, inputs: Any, company: Any, rng: Any) -> Any:
    """Predictions of ``inputs`` when they are asked for in random order among the rows of ``company``."""
    import numpy as np

    order = rng.permutation(len(inputs) + len(company))
    positions = np.argsort(order)[: len(inputs)]  # of the inputs
    return referee.predict(np.concatenate([inputs, company.astype(inputs.dtype)])[order])[positions]
