"""What every instruction is given alike on a task: a finished opening race, and the jobs that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from analysis.evidence import evidence
from analysis.scales import GainScale, scale_of
from analysis.statistics import error_of
from analysis.study import read_study
from arena.arms import Match
from arena.measuring import settled_gains
from arena.race import Allocation
from meta.archive import Archive
from meta.mutators.llm.briefing import Control, MutationBriefing
from meta.mutators.llm.kinds import Job, Kind, ProgramReader, offered
from meta.novelty import Novelty, novelty_on
from meta.population import entries, twin_of_stock
from programs.errors import UsageError
from programs.shelf import starter

if TYPE_CHECKING:
    from analysis.evidence import Evidence
    from arena.executor import Executor, Progress
    from arena.task_set import TaskSet
    from arena.task_study import TaskStudy
    from meta.instructions.plan import InstructionPlan
    from meta.mutators.base import ParentProgram
    from programs.program import Program


@dataclass(frozen=True)
class Assignment:
    """A job: the operator, its parents, and the sections that may change."""

    kind: Kind
    parents: Sequence[ParentProgram]
    job: Job


@dataclass(frozen=True)
class PoolSituation:
    """A task after its opening race. ``control``: stock's two arms. Nothing in it depends on later matches."""

    on: TaskStudy
    facts: Evidence
    archive: Archive
    control: Control
    scale: GainScale
    programs: Sequence[Program]

    def novelty(self) -> Novelty:
        """The behaviours of its programs: a child has to differ from these, whatever other instructions led to."""
        novelty = novelty_on([self.on])
        for program in self.programs:
            novelty.meet(program)
        return novelty

    def briefing(self, instruction: Program) -> MutationBriefing:
        return MutationBriefing(
            instruction,
            self.on.task,
            self.on.config.researcher,
            self.control,
            tried=(),
            names={program.program_id: program.name for program in self.programs},
            programs={program.program_id: program for program in self.programs},
            novelty=self.novelty(),
        )

    def assignment(self, label: str, number: int) -> Assignment:
        """Job ``number``, the same for every instruction: the first operator, in a random order, that can change what
        the researcher does with parents that are drawn by their posterior."""
        rng = np.random.default_rng(self.on.streams.seed("search", label, self.on.task.task_id, number))
        reader, kinds = ProgramReader(self.novelty()), offered(self.on.config.researcher)
        for index in rng.permutation(len(kinds)):
            kind = kinds[index]
            parents = self.archive.parents(rng, kind.parents)
            if len(parents) < kind.parents:
                continue
            job = kind.offer(reader, [parent.program for parent in parents], rng)
            if job is not None:
                return Assignment(kind, parents, job)
        raise UsageError(f"{self.on.task.name}: no operator can change what its programs do", hint="choose other tasks")


def play_openings(
    tasks: TaskSet,
    label: str,
    programs: Sequence[Program],
    plan: InstructionPlan,
    executor: Executor,
    progress: Progress,
) -> list[PoolSituation]:
    """Race the programs on each task, stock twice, and read what came out of it. A race that has ended is not played
    again."""
    entered, _ = entries(programs, novelty_on(tasks))
    racers = [*entered, twin_of_stock()]
    matches = tasks.enter(label, racers, purpose="race", stream="selection", generation=0)
    rounds = Allocation({arm.arm_id: plan.opening_runs for arm in matches[0].arms})
    tasks.play(executor, matches, rounds, progress)
    with read_study(tasks.study.folder, views=()) as con:
        facts = [evidence(con, task.name, until_generation=0) for task in tasks.tasks]
    return [situation_of(*one) for one in zip(tasks, matches, facts, strict=True)]


def situation_of(on: TaskStudy, match: Match, facts: Evidence) -> PoolSituation:
    stock = starter("stock").program_id
    gains = {arm.arm_id: settled_gains(on, arm.arm_id) for arm in match.arms}
    arms = [gains[arm.arm_id] for arm in match.arms if arm.program.program_id == stock]
    others = [gains[arm.arm_id] for arm in match.arms if arm.program.program_id != stock]
    first, second = arms
    control = Control(fmean(first), fmean(second), len(first), (error_of(first) + error_of(second)) ** 0.5)
    scale = scale_of(on.task.name, on.task.unit, [*first, *second], others)
    programs = {arm.program.program_id: arm.program for arm in match.arms}
    return PoolSituation(
        on, facts, Archive(programs, facts.programs, Counter()), control, scale, tuple(programs.values())
    )
