"""The evolution of instructions: race them over a pool of tasks, write better ones, test the best on new tasks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from analysis.events import BestInstructionEvent
from analysis.writing_events import GenerationEvent, InstructionEvent
from arena.drain import drain_on_interrupt
from arena.executors import executor_of
from arena.race import ArmScore, SequentialHalving, shrunken
from arena.task_set import TaskSet
from arena.task_study import all_tasks, reserved_tasks
from meta.instructions.claim import InstructionResult, compare
from meta.instructions.page import leave_files
from meta.instructions.situation import PoolSituation, play_openings
from meta.instructions.trials import InstructionStep, InstructionTrials, Trial, by_task
from meta.instructions.writer import TriedInstruction, write
from meta.lineage import Lineage
from meta.mutators.llm.author import Author
from programs.program import Program
from programs.shelf import meta_program

if TYPE_CHECKING:
    from arena.executor import Executor, Progress
    from arena.study import Study
    from meta.instructions.plan import InstructionPlan

POOL, CONFIRM = "instruction-jobs", "instruction-confirmation"  # labels of the jobs' seeds


def evolve_instructions(study: Study, plan: InstructionPlan, progress: Progress) -> InstructionResult:
    """Run a study of instructions, from wherever it stopped, to its result."""
    epoch = int(datetime.fromisoformat(study.config.created_at).timestamp())
    with ExitStack() as stack:
        stack.enter_context(study)
        stack.enter_context(drain_on_interrupt(study, progress))
        lineage = stack.enter_context(Lineage(study.folder / "programs.git", epoch))
        tasks = [*all_tasks(study), *reserved_tasks(study)]
        executor = stack.enter_context(executor_of(study, progress, tasks))
        evolution = InstructionEvolution(study, plan, executor, lineage, progress)
        evolution.search()
        return evolution.confirm()


class InstructionEvolution:
    """The steps of one study, in an order that follows from the ledger alone: each writes children or instructions and
    is closed by one event."""

    def __init__(
        self, study: Study, plan: InstructionPlan, executor: Executor, lineage: Lineage, progress: Progress
    ) -> None:
        self.study = study
        self.plan = plan
        self.executor = executor
        self.lineage = lineage
        self.progress = progress
        self.clients = Author(study, progress).clients
        self.trials = InstructionTrials(study, lineage, self.clients, executor, plan.child_runs, progress)
        self.step = 0
        self.pool: list[PoolSituation] = []
        self.on_pool: dict[str, list[Trial]] = {}  # by instruction, on the pool's tasks

    def search(self) -> None:
        """The opening races of the pool, then the generations of instructions."""
        self._admit()
        self.pool = self._openings(TaskSet.of(self.study), "opening")
        self._race()
        for _ in range(self.plan.generations):
            write(self.study, self.clients, self._ranked(), self._next(), self.plan.children)
            self._race()

    def confirm(self) -> InstructionResult:
        """The single test: the best instruction and today's get the same new jobs."""
        best, today = self._ranked()[0].program, self._instructions()[0]
        result = InstructionResult(best.program_id, best.name, today.program_id)
        final: list[Trial] = []
        if best.program_id != today.program_id:
            reserved = reserved_tasks(self.study)
            on = self._openings(TaskSet(tuple(reserved)), "confirmation-opening") if reserved else self.pool
            jobs = range(self.plan.confirm_jobs)
            wanted = [(program, each, job) for job in jobs for each in on for program in (best, today)]
            final = self.trials.carry_out(InstructionStep(self._next(), CONFIRM, wanted, is_final=True))
            of_best, of_today = ([t for t in final if t.instruction_id == p.program_id] for p in (best, today))
            compared = compare(of_best, of_today, same_tasks=not reserved)
            result = InstructionResult(best.program_id, best.name, today.program_id, compared)
        leave_files(self.study.folder, result, best, self._ranked(), final)
        if self.study.state.best_instruction is None:
            self.study.record(BestInstructionEvent(body=result.record()))
        return result

    def _admit(self) -> None:
        """Generation 0: the programs of the opening races, and the instructions that are given."""
        if 0 in self.study.state.generations:
            return
        for program in self._starters():
            self.lineage.add(program, operator="starter", parent_ids=(), reason="starter")
            self.study.admit(program, generation=0, operator="starter")
        given = [(meta_program(), "library")]
        own = Program.parse(self.study.config.meta_program or given[0][0].text, "given")
        given += [(own, "given")] if own.program_id != given[0][0].program_id else []
        for attempt, (program, operator) in enumerate(given):
            self.study.record(
                InstructionEvent(
                    generation=0,
                    attempt=attempt,
                    program_id=program.program_id,
                    name=program.name,
                    operator=operator,
                    accepted=True,
                    reason=operator,
                    text=program.text,
                )
            )
        starters = tuple(program.program_id for program in self._starters())
        self.study.record(GenerationEvent(generation=0, program_ids=starters, elite_ids=()))

    def _starters(self) -> list[Program]:
        return [Program.parse(text, name) for name, text in self.study.config.programs]

    def _openings(self, tasks: TaskSet, label: str) -> list[PoolSituation]:
        return play_openings(tasks, label, self._starters(), self.plan, self.executor, self.progress)

    def _next(self) -> int:
        self.step += 1
        return self.step

    def _instructions(self) -> list[Program]:
        """Those of the closed steps, today's first."""
        events = [event for event in self.study.state.instructions if event.accepted and event.generation <= self.step]
        return [Program.parse(event.text, event.name) for event in events]

    def _race(self) -> None:
        """Give out jobs by halving: every instruction gets the first ones, the best more. Job ``j`` is the same for
        all, and is given out on every task of the pool."""
        racer = SequentialHalving(self.plan.stages)
        programs = {program.program_id: program for program in self._instructions()}
        for program_id in programs:
            self.on_pool.setdefault(program_id, [])
        while wanted := racer.next_round([self._arm(program_id) for program_id in programs]):
            given = [
                (programs[program_id], on, job)
                for program_id, jobs in wanted.items()
                for job in range(len(self._arm(program_id).gains), jobs)
                for on in self.pool
            ]
            for trial in self.trials.carry_out(InstructionStep(self._next(), POOL, given)):
                self.on_pool[trial.instruction_id].append(trial)

    def _arm(self, program_id: str) -> ArmScore:
        """An instruction's values by job, each the mean over the tasks."""
        values = by_task(self.on_pool[program_id]).values()
        return ArmScore(program_id, True, tuple(sum(job) / len(job) for job in zip(*values, strict=True)))

    def _ranked(self) -> list[TriedInstruction]:
        """All instructions, the best by the shrunken mean over their jobs first; of equal ones the earlier."""
        programs = self._instructions()
        means = shrunken([self._arm(program.program_id).gains for program in programs])
        order: Sequence[int] = sorted(range(len(programs)), key=lambda i: (-means[i], i))
        reasons = {e.program_id: e.reason for e in self.study.state.instructions if e.operator == "written"}
        return [
            TriedInstruction(programs[i], self.on_pool[programs[i].program_id], reasons.get(programs[i].program_id, ""))
            for i in order
        ]
