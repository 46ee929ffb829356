"""The knowledge that Metaloop ships: what each single edit of a task does to its untouched script, and to better ones.

python -m bench.sweep FOLDER TASK|FAMILY:FIRST-LAST …   adds a file for each task to the knowledge base FOLDER

A sweep trains the untouched script four times, then every declared edit once (each other optimizer with each learning
rate), then the best quarter of these edits twice more. The second round starts from the best script of the first.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from analysis.knowledge.store import EditTrial, of_trials, role_values_of, write
from bench.common import figure
from meta.cli.task_work import trainer_at
from trainer.cards.measure import run_or_refuse
from trainer.edits import Edit, EditError
from trainer.experiment import Trainer
from trainer.outcome import Status
from trainer.source import Source
from trainer.task import Task
from trainer.variants import tasks_of

ROUNDS = 2
AGAIN = 0.25  # share of a round's edits that are repeated, the best ones
SEEDS = 3  # experiments with each of these
STEPPED = 4  # edits of different knobs that are joined for the next round, at most
FIRST = 4  # experiments with the script that a round starts from
Runs = list[tuple[Status, float | None]]


def moves(task: Task, source: Source) -> list[Edit]:
    """Every declared edit that changes the script, and each other optimizer with each learning rate."""
    edits = [edit for edit, _ in task.declared_edits(source)]
    optimizer, rate = task.edits.knob("@optimizer"), task.edits.knob("@learning_rate")
    if optimizer is None or rate is None or optimizer.kind != "choice":
        return edits
    now = task.edits.config(source).get(optimizer.name)
    rules = [rule for rule in optimizer.values if rule != now]
    return edits + [Edit({optimizer.name: rule, rate.name: value}) for rule in rules for value in rate.values]


class Sweep:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.task = trainer, trainer.task
        self.seeds: dict[str, int] = {}

    def trials(self) -> list[EditTrial]:
        """The effects of the task's edits; the first one is the untouched script itself, none if that fails."""
        source, trials = self.task.baseline(), list[EditTrial]()
        for _ in range(ROUNDS):
            before = [value for _, value in self.train(source, FIRST) if value is not None]
            if not before:
                break
            tried: dict[Edit, Runs] = {}
            for edit in moves(self.task, source):
                with suppress(EditError):
                    tried[edit] = self.train(self.task.edits.apply(source, edit), 1)
            best = sorted((edit for edit in tried if tried[edit][0][1] is not None), key=lambda e: self.loss(tried[e]))
            for edit in best[: math.ceil(len(tried) * AGAIN)]:
                tried[edit] += self.train(self.task.edits.apply(source, edit), SEEDS - 1)
            trials.append(self.trial(source, before, Edit(), [("ok", value) for value in before]))
            trials += [self.trial(source, before, edit, runs) for edit, runs in tried.items()]
            source = self.best_script(source, statistics.mean(before), tried)
        return trials

    def best_script(self, source: Source, before: float, tried: Mapping[Edit, Runs]) -> Source:
        """The script with the best edits of different knobs, or with the best alone where they do not go together."""
        loss = {edit: self.loss(runs) for edit, runs in tried.items()}
        good = sorted((edit for edit in tried if loss[edit] < self.task.sign * before), key=loss.__getitem__)
        if not good:
            return source
        best = alone = self.task.edits.apply(source, good[0])
        taken, joined = {*good[0].set, *good[0].apply}, 1
        for edit in good[1:]:
            names = {*edit.set, *edit.apply}
            if joined == STEPPED or names & taken:
                continue
            try:
                best = self.task.edits.apply(best, edit)
            except EditError:
                continue
            taken, joined = taken | names, joined + 1
        return best if self.loss(self.train(best, SEEDS)) <= loss[good[0]] else alone

    def loss(self, runs: Runs) -> float:
        known = [value for _, value in runs if value is not None]
        return self.task.sign * statistics.mean(known) if len(known) == len(runs) else math.inf

    def trial(self, source: Source, before: list[float], edit: Edit, runs: Runs) -> EditTrial:
        after = [value for _, value in runs if value is not None]
        status: Status = next((status for status, value in runs if value is None), "ok")
        start, end = (self.task.edits.config(one) for one in (source, self.task.edits.apply(source, edit)))
        context, changed = role_values_of(self.task, start), role_values_of(self.task, end)
        new, mean = {role: value for role, value in changed.items() if context.get(role) != value}, statistics.mean
        if status != "ok":
            return EditTrial(context, new, status, mean(before), None, None, len(runs))
        se = statistics.stdev(before) * math.sqrt(1 / len(before) + 1 / len(after)) if len(before) > 1 else None
        return EditTrial(context, new, status, mean(before), mean(after), se, len(runs))

    def train(self, source: Source, count: int) -> Runs:
        """``count`` more experiments with a script, each under a seed of its own."""
        begin = self.seeds.get(source.source_id, 0)
        self.seeds[source.source_id] = begin + count
        outcomes = [run_or_refuse(self.trainer, source, seed) for seed in range(begin, begin + count)]
        return [(outcome.status, outcome.metric) for outcome in outcomes]


if __name__ == "__main__":
    for task in (task for text in sys.argv[2:] for task in tasks_of(text)):
        with trainer_at(task, unsafe=False) as trainer:
            trials = Sweep(trainer).trials()
        effects = of_trials(trials, task, kind="sweep", source=f"sweep of {task.name}") if trials else []
        file = write(Path(sys.argv[1]), effects) if effects else "no file, because no edit was better"
        figure(f"{task.name}, experiments", f"{sum(trial.n for trial in trials)}, {file}")
