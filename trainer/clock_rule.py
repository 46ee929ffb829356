"""Whether a verification used more CPU than the experiments of the same source did.

A source can recognise that it is verified, by its training seed, say. It could then train longer than in its
experiments, up to the hard line, or train once more while it is scored: both are paid by nobody. Such a verification is
not `verified`. An honest source stops by its own CPU clock, so what it uses hardly depends on the seed or the load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome

#: (share, CPU-seconds) that a verification may use beyond the longest of the source's own experiments. The seconds are
#: twice the 99% quantile of what 300 honest verifications on strokes did, at load 11; the shares are for longer tasks.
_RULES = {"training_seconds": ("training", 0.05, 0.011), "prediction_seconds": ("predicting", 0.25, 0.016)}
TRIES = 3  # a verification is refused if it used more each time: what a busy machine did is not there again


class Experiment(Protocol):
    """What the rule reads of an experiment's event."""

    @property
    def source_id(self) -> str: ...

    @property
    def fraction(self) -> float: ...

    @property
    def training_seconds(self) -> float | None: ...

    @property
    def prediction_seconds(self) -> float | None: ...


@dataclass(frozen=True)
class CpuUse:
    """CPU-seconds of a full experiment; None where an older version did not record them."""

    training_seconds: float | None = None
    prediction_seconds: float | None = None


def own_experiments(events: Iterable[Experiment], source_id: str) -> tuple[CpuUse, ...]:
    """What the full experiments of a source used."""
    full = (event for event in events if event.source_id == source_id and event.fraction >= 1.0)
    return tuple(CpuUse(event.training_seconds, event.prediction_seconds) for event in full)


def excess(own: Iterable[CpuUse], outcome: Outcome, key: str) -> float | None:
    """CPU-seconds by which ``found`` exceeds the longest of ``own``; None without figures."""
    known = [used for row in own if (used := getattr(row, key)) is not None]
    mine = getattr(outcome, key)
    return None if mine is None or not known else float(mine - max(known))


def overrun(own: Iterable[CpuUse], outcome: Outcome) -> str:
    """The finding ``clock: …`` where a verification used more than its source's own experiments; empty if none did.

    ``own``: of the same source at full budget; those without figures say nothing.
    """
    own = list(own)
    for key, (what, share, seconds) in _RULES.items():
        over, mine = excess(own, outcome, key), getattr(outcome, key)
        if over is not None and over > share * (mine - over) + seconds:
            return f"clock: {mine:.3f} CPU-s of {what}, at most {mine - over:.3f} in the source's own experiments"
    return ""


def verification(trainer: Trainer, spec: Spec, own: Iterable[CpuUse]) -> Outcome:
    """The outcome of ``spec``; invalid, with a finding, if it used more CPU than ``own`` in each of `TRIES` trainings.

    ``own``: of the same source at full budget; without any there is nothing to compare with.
    """
    own, spent = tuple(own), 0.0
    for number in range(TRIES):
        outcome = trainer.run(spec, use_cache=number == 0)
        spent += outcome.spent_seconds
        text = overrun(own, outcome) if outcome.status == "ok" else ""
        if not text:
            return replace(outcome, spent_seconds=spent)
    findings = (*outcome.findings, text)
    return replace(
        outcome, status="invalid", metric=None, trust="scored", reason=text, spent_seconds=spent, findings=findings
    )
