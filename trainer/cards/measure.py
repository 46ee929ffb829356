"""`task measure`: measures the card of a task by experiments: noise, effect of each edit, headroom, cost."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from programs.common.bounded import json_value
from programs.common.errors import TaskError
from trainer.cards.card import RESOLVED, Baseline, Card, EditEffect, Headroom
from trainer.data import DataStore
from trainer.edits import Edit, EditError
from trainer.experiment import Spec, Trainer
from trainer.gpu import hardware_class
from trainer.jobs.job import Launcher
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

Progress = Callable[[str], None]
REPEATS = 2  # experiments per edit
_STACKED = 12  # edits that the greedy chain tries at most
_MIN_GAIN_SD = 1.0  # edits with a smaller gain are not tried in the chain


def silent(_: str) -> None:
    """No progress shown."""


def run_or_refuse(trainer: Trainer, source: Source, seed: int) -> Outcome:
    """An experiment's outcome. Raises TaskError where experiments cannot run at all."""
    outcome = trainer.run(Spec(source, seed))
    if outcome.status == "fault":
        raise TaskError(f"{trainer.task.name}: cannot be run here: {outcome.reason}", hint="metaloop doctor")
    return outcome


@dataclass
class _Bench:
    """Runs sources over seeds and records the outcomes."""

    trainer: Trainer
    progress: Progress
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, source: Source, seed: int, label: str) -> Outcome:
        outcome = run_or_refuse(self.trainer, source, seed)
        self.outcomes.append(outcome)
        shown = f"{outcome.metric:.4f}" if outcome.metric is not None else f"{outcome.status}: {outcome.reason}"
        self.progress(f"{len(self.outcomes):4d}  {label}  {shown}")
        return outcome

    def baseline(self, seeds: int) -> tuple[Baseline, list[Outcome]]:
        source = self.trainer.task.baseline()
        outcomes = [self.run(source, seed, f"baseline, seed {seed}") for seed in range(seeds)]
        for outcome in outcomes:
            if outcome.metric is None:
                message = f"{self.trainer.task.folder / 'train.py'}: the baseline fails: {outcome.reason}"
                raise TaskError(message, hint="metaloop task check tests the contract")
        values = [outcome.metric for outcome in outcomes if outcome.metric is not None]
        if len(set(values)) == 1:
            same = f"{len(values)} seeds of the baseline give the same metric, {values[0]:.6g}"
            hint = "a card counts gains in the SD between seeds: this task has none, and metaloop task check suffices"
            raise TaskError(f"{self.trainer.task.name}: {same}", hint=hint)
        return Baseline(statistics.mean(values), statistics.stdev(values), len(values)), outcomes

    def mean(self, source: Source, seeds: range, label: str) -> tuple[float | None, Outcome]:
        """Mean metric over seeds with the last outcome; if one fails, None with the failed outcome."""
        values: list[float] = []
        for seed in seeds:
            outcome = self.run(source, seed, label)
            if outcome.metric is None:
                return None, outcome
            values.append(outcome.metric)
        return statistics.mean(values), outcome

    def effect(self, edit: Edit, group: str, baseline: Baseline) -> EditEffect:
        task, label = self.trainer.task, edit.label()
        try:
            source = task.edits.apply(task.baseline(), edit)
        except EditError as error:
            return EditEffect(label, edit, group, "invalid", None, None, False, 0, error.message)
        metric, outcome = self.mean(source, range(100, 100 + REPEATS), label)
        if metric is None:
            return EditEffect(label, edit, group, outcome.status, None, None, True, 1, outcome.reason)
        gain = task.sign * (baseline.mean - metric) / baseline.sd
        return EditEffect(label, edit, group, "ok", metric, gain, abs(gain) >= RESOLVED, REPEATS)

    def headroom(self, effects: list[EditEffect], baseline: Baseline) -> Headroom:
        """Add the best edits one after the other to the best source so far, and keep each that helps."""
        task = self.trainer.task
        source, best, label, tried = task.baseline(), baseline.mean, "nothing", 0
        for effect in _candidates(effects):
            try:
                candidate = task.edits.apply(source, effect.edit)
            except EditError:
                continue
            metric, _ = self.mean(candidate, range(200, 202), f"{label}, {effect.label}")
            tried += 1
            if metric is not None and task.sign * (best - metric) > 0:
                source, best = candidate, metric
                label = effect.label if label == "nothing" else f"{label} {effect.label}"
        values = [outcome.metric for outcome in (self.run(source, seed, label) for seed in range(300, 304))]
        known = [value for value in values if value is not None]
        final = statistics.mean(known) if known else best  # on fresh seeds, because the best of a search is biased
        edit = task.edits.between(task.edits.config(task.baseline()), task.edits.config(source))
        gain = task.sign * (baseline.mean - final) / baseline.sd
        sd = statistics.stdev(known) if len(known) > 1 else None
        return Headroom(gain, final, edit.label(), edit, sd, tried)


def _candidates(effects: list[EditEffect]) -> list[EditEffect]:
    """The best value of each knob, best first."""
    best: dict[str, EditEffect] = {}
    for effect in effects:
        name = effect.label.partition("=")[0]
        known = best.get(name)
        if effect.gain_sd is not None and (known is None or effect.gain_sd > (known.gain_sd or 0.0)):
            best[name] = effect
    ranked = sorted(best.values(), key=lambda effect: -(effect.gain_sd or 0.0))
    return [effect for effect in ranked if (effect.gain_sd or 0.0) >= _MIN_GAIN_SD][:_STACKED]


def known_floor(task: Task, split: Path) -> float | None:
    """The best possible score, if the generator wrote it to ``floor.json`` {metric: value}."""
    try:
        floor = json_value((split / "floor.json").read_bytes()).get(task.metric)
    except (OSError, ValueError, AttributeError):
        return None
    return float(floor) if isinstance(floor, int | float) else None


def measure(
    task: Task,
    *,
    data: DataStore | None = None,
    launcher: Launcher | None = None,
    seeds: int = 8,
    progress: Progress = silent,
) -> Card:
    """Measure a task's card: ``seeds`` baseline runs, each edit REPEATS times, a greedy combination of the best.

    ``progress``: gets one line each. Raises TaskError if the baseline fails, or has the same metric with all seeds.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = data or DataStore(task, Streams.from_seed(1), Path(folder) / "data")
        with Trainer(task, data, launcher=launcher) as trainer:
            bench = _Bench(trainer, progress)
            bench.run(task.baseline(), 0, "warm-up")
            baseline, outcomes = bench.baseline(max(2, seeds))
            edits = task.declared_edits()
            effects = [bench.effect(edit, group, baseline) for edit, group in edits]
            headroom = bench.headroom(effects, baseline)
        floor = known_floor(task, data.split("search")) if task.has_data else None
    costs = [outcome.device_seconds_charged for outcome in outcomes]
    return Card(
        task=task.name,
        task_id=task.task_id,
        baseline_source=task.baseline().source_id,
        metric=task.metric,
        unit=task.unit,
        baseline=baseline,
        floor=floor,
        cost_seconds=statistics.median(costs),
        cost_sd=statistics.stdev(costs),
        resolved_share=statistics.mean(effect.resolved for effect in effects) if effects else 0.0,
        headroom=headroom,
        effects=tuple(effects),
        experiments=len(bench.outcomes),
        spent_seconds=sum(outcome.device_seconds_spent for outcome in bench.outcomes),
        hardware_class=hardware_class(task.device),
        torch=_torch_version() if task.torch else "none",
    )


def _torch_version() -> str:
    import torch

    return str(torch.__version__)
