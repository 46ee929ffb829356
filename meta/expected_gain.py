"""What a program is expected to gain, before it costs device time: the first experiments of its runs, simulated.

The model of the study's experiments (`analysis.effects`) is the law of a simulated task. Each simulated run has effects
of its own, drawn from the posterior; a child and its parent meet the same draws. Edits that nothing tried have no
effect, so what a program may discover is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from analysis.evidence.task_evidence import Evidence
from analysis.statistics import mean_interval
from arena.study.study import Study
from inner_loop.run import run
from meta.breed import Refusal
from programs.program import Program
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.laws.law import Change, Law
from trainer.streams import Streams
from trainer.task import Task

EXPERIMENTS, RUNS = 12, 16
SEED = 43


def refusal_by_gain(study: Study) -> Callable[[Evidence], Refusal | None]:
    """By the evidence, why a child is not worth a race beside its parent; None where that says nothing of its runs:
    with several tasks, or where a model follows the program."""

    def refusal(evidence: Evidence) -> Refusal | None:
        fitted = evidence.effects is not None and evidence.effects.fitted is not None
        if not fitted or study.config.further or study.config.researcher != "scripted":
            return None
        return ExpectedGain(study.task, evidence).problem

    return refusal


class ExpectedGain:
    """Expected gains on a task by what ``evidence`` knows, which has a fitted model of that task."""

    def __init__(self, task: Task, evidence: Evidence) -> None:
        self.task = task
        self.evidence = evidence
        self.of = lru_cache(maxsize=None)(self._of)

    def problem(self, child: Program, parent: Program) -> str:
        """Why the child is not worth a race; empty if it is expected to gain more than its parent, by more than the
        standard error of the simulation."""
        more = mean_interval([a - b for a, b in zip(self.of(child), self.of(parent), strict=True)])
        assert more.value is not None and more.se is not None
        said = f"is not expected to gain more than its parent ({more.value:+.2g} {self.task.unit})"
        return "" if more.value > more.se else said

    def _of(self, program: Program) -> list[float]:
        """Gains of the scripts that its runs end with, one for each law, in metric units."""
        gains = list[float]()
        for number, law in enumerate(self._laws):
            streams = Streams.from_seed(number)
            ended = run(
                program,
                Trainer(replace(self.task, law=law), DataStore(self.task, streams, Path())),
                run_id=f"expected-{number}",
                run_seed=number,
                streams=streams,
                budget_seconds=EXPERIMENTS * self.task.cost_seconds,
                emit=lambda _: None,
                folder=None,
            )
            gains.append(law.gain(self.task.edits.config(ended.final)))
        return gains

    @cached_property
    def _laws(self) -> list[Law]:
        effects = self.evidence.effects
        assert effects is not None and effects.fitted is not None
        fitted = effects.fitted
        knobs = {knob.name.lower(): knob for knob in self.task.edits.knobs}
        change: dict[int, Change] = {}
        for (name, text), column in effects.column.items():
            value = knobs[name].legal(json.loads(text)) if name in knobs else None
            if value is not None:
                change[column] = knobs[name].name, value
        pairs = {pair: at for pair, at in fitted.pairs.items() if change.keys() >= {*pair}}
        at = np.array([*(fitted.levels + column for column in change), *pairs.values()])
        draws = np.random.default_rng(SEED).multivariate_normal(
            fitted.mean[at], fitted.covariance[np.ix_(at, at)], RUNS, method="eigh"
        )
        failed = {edit.key for edit in self.evidence.edits if edit.n > 1 and edit.failures == edit.n}
        crashes = frozenset(change[effects.column[key]] for key in failed if effects.column.get(key) in change)
        before, noise = self.task.edits.config(self.task.baseline()), float(np.sqrt(fitted.noise))
        changes = [(change[a], change[b]) for a, b in pairs]
        return [
            Law(
                before,
                dict(zip(change.values(), drawn, strict=False)),
                dict(zip(changes, drawn[len(change) :], strict=True)),
                crashes,
                sign=self.task.sign,
                seed=number,
                noise=noise,
            )
            for number, drawn in enumerate(draws.tolist())
        ]
