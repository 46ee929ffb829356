"""The headroom test of a study or of one task: which single changes it tries, and what it found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from arena.executor import Progress
from arena.executors import at_work
from arena.harvest import HEADROOM, HarvestCandidate
from arena.headroom import SIZES, HeadroomFound, HeadroomSize, headroom, measured, seeds_of, size_of
from arena.study import Study
from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.moves import neighbours
from meta.learnt import learnt_for
from meta.plan import Plan
from programs.program import Program
from programs.shelf import starter
from trainer.cards import check_record
from trainer.cards.card_summary import resolved_effects
from trainer.cards.measure import Progress as TaskProgress
from trainer.cards.measure import run_or_refuse
from trainer.data import DataStore
from trainer.edits import Edit, EditError
from trainer.laws.simulated import trainer_for
from trainer.sandbox.launcher import Launcher
from trainer.streams import Streams
from trainer.task import Task
from trainer.values.conditional import OPTIONAL, read

STRONGEST = "strongest"  # in a study's plan: the changes that the check or the card measured as best
_TOGETHER = 2  # settings that count as one change: an optimizer with its learning rate


class _NotTrained(Exception):
    """The ledger does not have a training yet."""


def strongest(task: Task) -> list[str]:
    """The single changes that gained in the task's last check, else on its card: the largest gain first, as text."""
    checked = [(one.gain, one.edit) for one in check_record.read(task) or () if one.gain and one.gain > 0]
    gains = checked or [(gain, label) for gain, label in resolved_effects(task) if gain > 0]
    return [label for _, label in sorted(gains, key=lambda pair: -pair[0])]


def single_changes(
    task: Task, programs: Sequence[Program], count: int, seed: int, known: Sequence[str] = ()
) -> list[Edit]:
    """Changes of the untouched script, each another source: half of them at most from ``known``, the changes that
    gained most where they were measured; half at most from ideas of the first program; then those of the others, then
    neighbouring values of the settings, in an order drawn by ``seed``."""
    chosen: dict[str, Edit] = {task.baseline().source_id: Edit()}

    def take(edits: Iterable[Edit], most: int) -> None:
        for edit in edits:
            if len(chosen) > most:
                return
            try:
                chosen.setdefault(task.edits.apply(task.baseline(), edit).source_id, edit)
            except EditError:
                continue

    take(_named(task, known), count // 2)
    begun = len(chosen) - 1
    for number, program in enumerate(programs):
        most = count if number or len(programs) == 1 else begun + (count - begun) // 2
        take(_of_ideas(task, program), most)
    take(_beside(task, seed), count)
    return [edit for edit in chosen.values() if edit]


def _of_ideas(task: Task, program: Program) -> Iterable[Edit]:
    """What its ideas ask for of the untouched script, without those that change many settings at once."""
    config = task.edits.config(task.baseline())
    for idea in program.ideas:
        if any(term.rstrip().endswith(OPTIONAL) for term in idea.terms):
            continue
        known = read(task.edits, idea.terms, idea.conditions)
        edit = known.on(config) if known else None
        if edit and len(edit.set) + len(edit.apply) <= _TOGETHER:
            yield edit


def _named(task: Task, labels: Sequence[str]) -> Iterable[Edit]:
    """The edits of these labels (``lr=0.2``, ``+norm``) that the task has."""
    config = task.edits.config(task.baseline())
    for label in labels:
        edit = read(task.edits, [term.lstrip("+") for term in label.split()], [])
        if edit and (made := edit.on(config)):
            yield made


def _beside(task: Task, seed: int) -> list[Edit]:
    """A step of each setting, then the step in the other direction, and so on."""
    rng, config = np.random.default_rng(seed), task.edits.config(task.baseline())
    steps = [[move.edit for move in neighbours(knob, config)] for knob in task.edits.knobs]
    for several in steps:
        rng.shuffle(several)
    order = rng.permutation(len(steps))
    return [steps[at][turn] for turn in range(max(map(len, steps), default=0)) for at in order if turn < len(steps[at])]


def carry_out(study: Study, plan: Plan, progress: Progress) -> list[HeadroomFound]:
    """Make the test on each task of a study, from wherever it stopped."""
    size = size_of(plan.headroom) or SIZES[-1]
    with at_work(study, progress) as executor:
        return [headroom(on, executor, _changes(on, size), size) for on in TaskSet.of(study)]


def finished(study: Study, plan: Plan) -> list[HeadroomFound] | None:
    """What the finished test of a study found; None where it is not finished."""
    size = size_of(plan.headroom)
    if size is None:
        return None
    try:
        return [_recorded(on, size) for on in TaskSet.of(study)]
    except _NotTrained:
        return None


def _recorded(on: TaskStudy, size: HeadroomSize) -> HeadroomFound:
    known = on.state.harvested[on.task.name, HEADROOM]

    def train(stage: str, wanted: Sequence[tuple[HarvestCandidate, int]]) -> list[float | None]:
        if any((stage, number) not in known for number in range(len(wanted))):
            raise _NotTrained
        return [known[stage, number].metric for number in range(len(wanted))]

    return measured(on.task, _changes(on, size), size, seeds_of(on.streams, on.task, size), train)


def _changes(on: TaskStudy, size: HeadroomSize) -> list[Edit]:
    """From the texts that the study stores, so that they stay the same when it is resumed."""
    config = on.study.config
    texts = {Program.parse(text, name).program_id: (text, name) for name, text in config.programs}
    taught = config.knowledge.program_id if config.knowledge else None
    named = [texts[one] for one in (config.plan.get("origin"), taught) if one in texts]
    programs = [Program.parse(text, name) for text, name in named]
    known = config.plan.get(STRONGEST) if on.task.task_id == config.task_id else None
    labels = [str(one) for one in known] if isinstance(known, list) else []
    seed = on.streams.seed("search", HEADROOM, on.task.name, "changes")
    return single_changes(on.task, programs, size.changes, seed, labels)


def alone(task: Task, launcher: Launcher, progress: TaskProgress) -> HeadroomFound:
    """The test of a task outside any study, with changes from what was learnt on measured tasks."""
    streams, size = Streams.from_seed(1), SIZES[0]
    learnt = learnt_for(starter("idea-queue"), [task])
    seed = streams.seed("search", HEADROOM, task.name, "changes")
    edits = single_changes(task, [learnt.program] if learnt else [], size.changes, seed, strongest(task))
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_for(task, DataStore(task, streams, Path(folder)), launcher=launcher)

        def train(stage: str, wanted: Sequence[tuple[HarvestCandidate, int]]) -> list[float | None]:
            metrics = []
            for candidate, seed in wanted:
                outcome = run_or_refuse(trainer, candidate.source, seed)
                label = candidate.edit.label() if candidate.edit else "unchanged"
                progress(f"{label}  {outcome.metric if outcome.metric is not None else outcome.reason}")
                metrics.append(outcome.metric)
            return metrics

        return measured(task, edits, size, seeds_of(streams, task, size), train)
