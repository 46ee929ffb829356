"""Jobs carried out by following an instruction, the runs of their children, and what the ledger says they gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from analysis.statistics import Mean, mean_interval
from analysis.writing_events import GenerationEvent, MutationEvent
from arena.arms import Entry, enter
from arena.drain import drained
from arena.match import play
from arena.measuring import settled_gains
from arena.race import Allocation
from meta.breed import Attempt, judge, next_version, write_down
from meta.instructions.plan import TRIES
from meta.mutators.llm.generation_calls import PROMPT_BYTES, GenerationCalls
from meta.mutators.llm.mutator import PASSED, LlmMutator
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.executor import Executor, Progress
    from arena.study import Study
    from inner_loop.models.client import ModelClient
    from meta.instructions.situation import Assignment, PoolSituation
    from meta.lineage import Lineage
    from programs.program import Program


@dataclass(frozen=True)
class Trial:
    """What an instruction led to in one job. ``gain``: of the child over its parents, in the task's unit; ``value``:
    the same in units of the task's scale, 0 without a child. ``attempts``: the replies, the last one counts."""

    instruction_id: str
    task: str
    job: int
    attempts: Sequence[MutationEvent]
    gain: float | None
    value: float

    @property
    def last(self) -> MutationEvent:
        return self.attempts[-1]

    @property
    def became(self) -> str:
        """accepted, passed or refused."""
        passed = not self.last.accepted and self.last.reason.startswith(PASSED)
        return "accepted" if self.last.accepted else "passed" if passed else "refused"


@dataclass(frozen=True)
class InstructionStep:
    """Jobs that are given out together: the instruction, the situation and the number of each. ``label`` separates the
    jobs of the pool from those of the confirmation. ``stream``: on which the children are verified."""

    number: int
    label: str
    wanted: Sequence[tuple[Program, PoolSituation, int]]
    is_final: bool = False


class InstructionTrials:
    """Carries out steps, from wherever the ledger ends."""

    def __init__(
        self,
        study: Study,
        lineage: Lineage,
        clients: Mapping[str, ModelClient],
        executor: Executor,
        runs: int,
        progress: Progress,
    ) -> None:
        self.study = study
        self.lineage = lineage
        self.clients = clients
        self.executor = executor
        self.runs = runs
        self.progress = progress
        self._assignments: dict[tuple[str, str, int], Assignment] = {}
        self._parents: dict[tuple[str, str], dict[str, Sequence[float]]] = {}  # gains by task and label of the jobs

    def carry_out(self, step: InstructionStep) -> list[Trial]:
        """Write the children of a step and run them. Raises what keeps the models from answering: without a reply
        nothing is known about an instruction."""
        if step.number not in self.study.state.generations:
            self._write(step)
        attempts: dict[tuple[str, str, int], list[MutationEvent]] = {}
        for event in self.study.state.mutations:
            if event.generation == step.number and event.meta_program_id and event.task and event.job is not None:
                attempts.setdefault((event.meta_program_id, event.task, event.job), []).append(event)
        last = [events[-1] for events in attempts.values()]
        situations = {on.on.task.name: on for _, on, _ in step.wanted}
        arms = {
            task: self._play(step, on, [event for event in last if event.task == task])
            for task, on in situations.items()
        }
        return [
            self._measured(program, on, job, attempts[program.program_id, on.on.task.name, job], arms)
            for program, on, job in step.wanted
        ]

    def _write(self, step: InstructionStep) -> None:
        calls = calls_of(self.study, self.clients, step.number, TRIES * len(step.wanted))
        written: list[Attempt] = []
        for instruction, on, job in step.wanted:
            written += self._attempts(step, calls, instruction, on, job, written)
            last = written[-1]
            what = last.refusal or (last.program.name if last.program else "")
            self.progress({"kind": "note", "text": f"{instruction.name} on {on.on.task.name}, job {job + 1}: {what}"})
        children = write_down(self.study, self.lineage, written, step.number)
        self.study.record(
            GenerationEvent(
                generation=step.number,
                program_ids=tuple(dict.fromkeys(child.program_id for child in children)),
                elite_ids=(),
            )
        )

    def _attempts(
        self,
        step: InstructionStep,
        calls: GenerationCalls,
        instruction: Program,
        on: PoolSituation,
        number: int,
        before: Sequence[Attempt],
    ) -> list[Attempt]:
        """The reply to one job, and its repair if it needs one."""
        given = self._assignment(on, step.label, number)
        mutator = LlmMutator(given.kind, next(iter(self.clients)), calls, on.briefing(instruction))
        first = given.parents[0].program
        known = [p.name for p in self.study.state.programs.values() if (p.generation or 0) < step.number]
        name = next_version(first.name, [*known, *(a.program.name for a in before if a.program and not a.refusal)])
        proposal = mutator.carry_out(given.parents, on.facts, given.job)
        attempts: list[Attempt] = []
        while proposal is not None:
            if calls.problem is not None:
                raise calls.problem
            attempt = judge(proposal, first, name, on.novelty())
            attempts.append(replace(attempt, task=on.on.task.name, job=number))
            proposal = proposal.repair(attempt.refusal) if attempt.faulty and proposal.repair else None
        if not attempts:
            raise UsageError(
                f"{on.on.task.name}: the prompt for a new program is longer than {PROMPT_BYTES:,} bytes",
                hint="choose tasks with fewer edits, or shorter instructions",
            )
        return attempts

    def _assignment(self, on: PoolSituation, label: str, number: int) -> Assignment:
        key = (on.on.task.name, label, number)
        if key not in self._assignments:
            self._assignments[key] = on.assignment(label, number)
        return self._assignments[key]

    def _play(
        self, step: InstructionStep, on: PoolSituation, made: Sequence[MutationEvent]
    ) -> dict[str, Sequence[float]]:
        """The gains of the accepted children and of their parents, by program. A parent is run once, beside the first
        children that need it, so that its error is the same for all instructions."""
        parents = self._parents.setdefault((on.on.task.name, step.label), {})
        children = [event.child_id for event in made if event.accepted and event.child_id]
        new = [p for event in made if event.accepted for p in event.parent_ids if p not in parents]
        programs = [self.study.program(program_id) for program_id in dict.fromkeys([*new, *children])]
        if not programs:
            return {}
        match = enter(
            on.on,
            f"step-{step.number}-{on.on.task.name}",
            [Entry(program) for program in programs],
            purpose="generation",
            stream="confirmation" if step.is_final else "selection",
            generation=step.number,
        )
        play(on.on, self.executor, match, Allocation({arm.arm_id: self.runs for arm in match.arms}), self.progress)
        gains = {arm.program.program_id: settled_gains(on.on, arm.arm_id) for arm in match.arms}
        parents |= {program_id: gains[program_id] for program_id in new}
        return {**gains, **parents}

    def _measured(
        self,
        instruction: Program,
        on: PoolSituation,
        job: int,
        attempts: Sequence[MutationEvent],
        arms: Mapping[str, Mapping[str, Sequence[float]]],
    ) -> Trial:
        last, gains = attempts[-1], arms[on.on.task.name]
        gain = None
        if last.accepted and last.child_id:
            # Over the mean of all parents, unlike the credit of a child: no run chooses it, it is the same for all
            # instructions, and a study that was stopped under an older version goes on from the same race.
            gain = fmean(gains[last.child_id]) - fmean([fmean(gains[parent]) for parent in last.parent_ids])
        value = 0.0 if gain is None else gain / on.scale.size
        return Trial(instruction.program_id, on.on.task.name, job, attempts, gain, value)


def calls_of(study: Study, clients: Mapping[str, ModelClient], number: int, most: int) -> GenerationCalls:
    """The calls of a step. A model that does not answer ends the study for now, so nothing is noted."""
    return GenerationCalls(
        clients,
        generation=number,
        most=most,
        reply_tokens=study.config.staff.reply_tokens,
        note=lambda _: None,
        stopped=lambda: drained(study),
    )


def by_task(trials: Sequence[Trial]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for trial in sorted(trials, key=lambda trial: trial.job):
        values.setdefault(trial.task, []).append(trial.value)
    return values


def units(trials: Sequence[Trial]) -> list[float]:
    """What an interval is over: the means of the tasks; on one task its jobs."""
    tasks = list(by_task(trials).values())
    return tasks[0] if len(tasks) == 1 else [fmean(values) for values in tasks]


def score(trials: Sequence[Trial]) -> Mean:
    return mean_interval(units(trials))
