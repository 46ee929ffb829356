"""Detects a verification that used more CPU than the experiments of the same source.

A source may recognise a verification, for example by its training seed. It could then train longer than in its
experiments, up to the hard limit, or train again while it is scored, and no run would pay for that. Such a verification
does not count as `verified`. An honest source that stops by its own CPU clock hardly depends on the seed or the load.
One whose work is fixed before it looks at the clock does: on a busy machine its memory is slower. So a verification
that used too much is compared with one of its experiments, made again at once under its old seed, which the source
cannot distinguish from the experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome

#: (share, CPU-seconds) that a verification may use beyond the longest of the source's own experiments. The seconds are
#: twice the 99% quantile of 300 honest verifications on strokes, at load 11; the shares are for longer tasks.
_RULES = {"training_seconds": ("training", 0.05, 0.011), "prediction_seconds": ("predicting", 0.25, 0.016)}
#: A verification is refused only if it exceeds the limit each time: a busy machine's effect does not repeat. In the
#: last try nothing else of the study trains; it follows at once on a failure that load can cause.
TRIES = 3
_OF_LOAD = ("invalid", "timeout")
#: The most that an experiment made again counts, as a multiple of the recorded ones: with more, a source that trains
#: longer at random, at the price of a few experiments, would have as many further draws as there are tries.
_MOST_AGAIN = 1.4


class TimedExperiment(Protocol):
    """The fields of an experiment's event that the rule reads."""

    @property
    def source_id(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def fraction(self) -> float: ...

    @property
    def training_seconds(self) -> float | None: ...

    @property
    def prediction_seconds(self) -> float | None: ...


@dataclass(frozen=True)
class CpuUse:
    """CPU-seconds of a full experiment, and its training seed; None where they are unknown."""

    training_seconds: float | None = None
    prediction_seconds: float | None = None
    seed: int | None = None


def own_experiments(events: Iterable[TimedExperiment], source_id: str) -> tuple[CpuUse, ...]:
    """The CPU use of the full experiments of a source."""
    full = (event for event in events if event.source_id == source_id and event.fraction >= 1.0)
    return tuple(CpuUse(event.training_seconds, event.prediction_seconds, event.seed) for event in full)


def excess(own: Iterable[CpuUse], outcome: Outcome, key: str) -> float | None:
    """CPU-seconds by which ``outcome`` exceeds the longest of ``own``; None without recorded values."""
    known = [used for row in own if (used := getattr(row, key)) is not None]
    value = getattr(outcome, key)
    return None if value is None or not known else float(value - max(known))


def overrun(own: Iterable[CpuUse], outcome: Outcome) -> str:
    """The finding ``clock: …`` if a verification used more CPU than its source's own experiments; otherwise empty.

    ``own``: experiments of the same source at full budget; those without recorded values are ignored.
    """
    own = list(own)
    for key, (what, share, seconds) in _RULES.items():
        over, used = excess(own, outcome, key), getattr(outcome, key)
        if over is not None and over > share * (used - over) + seconds:
            return f"clock: {used:.3f} CPU-s of {what}, at most {used - over:.3f} in the source's own experiments"
    return ""


def verification(trainer: Trainer, spec: Spec, own: Iterable[CpuUse]) -> Outcome:
    """The outcome of ``spec``; invalid, with a finding, if it used more CPU than ``own`` in each of `TRIES` trainings,
    and more than one of these experiments made again after each of them.

    ``own``: experiments of the same source at full budget; without any, nothing is compared.
    """
    own, spent, number = tuple(own), 0.0, 0
    seed = next((row.seed for row in own if row.seed is not None), None)
    while number < TRIES:
        alone = number == TRIES - 1
        outcome = trainer.run(spec, use_cache=number == 0, alone=alone)
        spent += outcome.device_seconds_spent
        text = overrun(own, outcome) if outcome.status == "ok" else ""
        if text and seed is not None:
            repeated = trainer.run(Spec(spec.source, seed, block=spec.block), use_cache=False, alone=alone)
            spent += repeated.device_seconds_spent
            text = overrun((*own, _at_most(repeated, own)), outcome)
        failed = outcome.status in _OF_LOAD and not alone
        if not text and not failed:
            return replace(outcome, device_seconds_spent=spent)
        number = TRIES - 1 if failed else number + 1
    findings = (*outcome.findings, text)
    return replace(
        outcome,
        status="invalid",
        metric=None,
        trust="scored",
        reason=text,
        device_seconds_spent=spent,
        findings=findings,
    )


def _at_most(again: Outcome, own: Iterable[CpuUse]) -> CpuUse:
    """The use of an experiment made again, at most `_MOST_AGAIN` times that of the recorded ones."""
    used = CpuUse(again.training_seconds, again.prediction_seconds)
    for key in _RULES:
        known = [seconds for row in own if (seconds := getattr(row, key)) is not None]
        if known and getattr(used, key) is not None:
            used = replace(used, **{key: min(getattr(used, key), _MOST_AGAIN * max(known))})
    return used
