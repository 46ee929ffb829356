"""Computes the outcome of an experiment from the task's law, in microseconds: without processes or hidden data."""

from __future__ import annotations

from trainer.attempts import Conditions, Spec
from trainer.outcome import Trust
from trainer.scoring import Failed, Score
from trainer.scoring.referee import ExperimentTally

_CRASHED_AT = 0.5  # share of the training time that a crash is charged


class LawAttempt:
    """A row is `scored`, on the deciding streams `verified`, with and without a sandbox, because the task's own law
    gives the metric and the source is never run.

    An experiment is charged its nominal cost. The part above the soft budget is launch and scoring and does not scale
    with the fraction. ``device_seconds_spent`` equals the charge, ``wall_seconds`` is 0. Outcomes are not cached,
    because computing them is faster than reading a file.
    """

    instant = True
    sandboxed = True  # nothing runs, so nothing can escape
    key_parts: list[str] | None = None
    trust_of_failure: Trust | None = "scored"

    def __init__(self, conditions: Conditions) -> None:
        assert conditions.task.law is not None
        self.conditions, self.law = conditions, conditions.task.law

    def prepare(self, spec: Spec) -> None:
        """Does nothing."""

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The law's metric; Failed for a source that crashes, or that the law does not cover."""
        task = self.conditions.task
        share = _CRASHED_AT
        try:
            metric = self._metric(spec)
            share = 1.0
        finally:
            seconds = task.scoring_seconds + spec.fraction * task.budget_seconds * share
            tally.cpu = tally.wall = self.conditions.price(spec, seconds)
        tally.steps = task.steps_of(spec.fraction)
        return Score(metric, "verified")

    def _metric(self, spec: Spec) -> float:
        config = self.conditions.task.edits.config(spec.source)
        if missing := next((name for name in self.law.before if name not in config), ""):
            raise Failed("invalid", f"the law does not cover a source without {missing}")
        result = self.law.simulate(
            config, spec.source.source_id, seed=spec.seed, stream=spec.stream, fraction=spec.fraction, block=spec.block
        )
        if result.metric is None:
            raise Failed("crash", result.crash)
        return result.metric

    def close(self) -> None:
        """Does nothing."""
