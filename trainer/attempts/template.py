"""Trains and scores in forks of a warm template. Training and prediction are separate, untrusted processes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from programs.common.errors import TaskError
from trainer.attempts import SOURCE_BYTES, Conditions, Spec, refuse_large
from trainer.outcome import Trust
from trainer.sandbox.blob import Blob
from trainer.sandbox.launcher import Launcher, ProcessRequest
from trainer.scoring import Failed, Score, lowest, mean_score, scorer_of
from trainer.scoring.referee import ExperimentTally, LocalReferee, judge


class TemplateAttempt:
    """``owned``: whether the launcher is closed with it."""

    instant = False
    key_parts: list[str] | None = None
    trust_of_failure: Trust | None = None

    def __init__(self, conditions: Conditions, launcher: Launcher, *, owned: bool) -> None:
        self.conditions = conditions
        self.launcher = launcher
        self.sandboxed = launcher.sandboxed
        self.scorer = scorer_of(conditions.task.scoring)
        self._owned = owned

    def prepare(self, spec: Spec) -> None:
        """Start the template with the data, because one without them would have to restart."""
        self.launcher.start(self._split())

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The score; Failed if train.py or its predictions fail. ``tally`` records the cost in both cases."""
        refuse_large(spec.source, SOURCE_BYTES, tally)
        request = self.request(spec)
        with Blob() as checkpoint:
            wanted = {"checkpoint_out": checkpoint.fd} if self.scorer.needs_checkpoint else {}
            ended = self.launcher.run(replace(request, descriptors=wanted))
            tally.add(ended, self.launcher.constant, "train")
            judge(ended, request.limits, failure="crash")
            if ended.artifact:
                raise Failed("invalid", ended.artifact)
            limits = self.conditions.limits(max(1.0, spec.fraction), request.limits.file_mb, tally)
            scores: dict[str, Score] = {}
            for label in spec.splits:
                before = tally.cpu
                referee = LocalReferee(
                    self.launcher,
                    self.conditions.data.labelled(label),
                    replace(request, limits=limits),
                    checkpoint if wanted else None,
                    stream=spec.stream,
                    seed=spec.seed,
                    scoring=self.conditions.task.scoring,
                    tally=tally,
                    checked=bool(scores),
                )
                scores[label] = self._score(referee, tally)
                tally.further_cpu += tally.cpu - before if len(scores) > 1 else 0.0
        return mean_score(scores)

    def _score(self, referee: LocalReferee, tally: ExperimentTally) -> Score:
        import numpy  # noqa: F401 -- so that the first experiment does not pay for the import

        started = time.thread_time()
        try:
            score = self.scorer.score(referee)
        finally:
            tally.cpu += time.thread_time() - started
        trust = score.trust or "verified"  # a plug-in may leave it to the stream
        if referee.read_log and not referee.answered:
            trust = lowest(trust, "self-reported")
        return Score(self._number(score.metric), trust, score.findings)

    def _number(self, metric: object) -> float:
        """Also of an array with one element, which a plug-in may return."""
        try:
            return float(getattr(metric, "item", lambda: metric)())  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise TaskError(
                f"the scorer {self.conditions.task.scoring['kind']} returned {metric!r:.60}, not a number"
            ) from None

    def request(self, spec: Spec) -> ProcessRequest:
        """The training; the scoring processes share its files and environment."""
        task = self.conditions.task
        environment = {
            "METALOOP_TRAIN_SEED": str(spec.seed),
            "METALOOP_TRAIN_BUDGET": repr(task.budget_seconds * spec.fraction),
            "METALOOP_TRAIN_DEVICE": self.conditions.charge.device,
        }
        if self.conditions.fixed_steps:
            environment["METALOOP_TRAIN_STEPS"] = str(task.steps_of(spec.fraction))
        checkpoint_mb = task.scoring["checkpoint_mb"]
        return ProcessRequest(
            "train",
            self.conditions.limits(spec.fraction, 2 * checkpoint_mb),
            files={**task.laid_files(), **{name: text.encode() for name, text in spec.source.files}},
            environment=environment,
            data=self._split(),
            checkpoint_mb=checkpoint_mb,
        )

    def _split(self) -> Path | None:
        return self.conditions.data.train() if self.conditions.task.has_data else None

    def close(self) -> None:
        if self._owned:
            self.launcher.close()
