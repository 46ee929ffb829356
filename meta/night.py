"""The night of a study: it is played as one run, and then shows what each program contributed to `main`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.effects.contributions import block_test, contributions, equal_blocks, seed_sd, turns_of
from analysis.evidence.task_evidence import Evidence
from analysis.study import read_study
from analysis.verdict.claim import OWN, Claim, claim
from analysis.verdict.decision import LEVEL, Contributed
from arena.after.harvest import best_final
from arena.arms import Entry
from arena.race import Allocation
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.study.task_set import TaskSet, evidence_of
from arena.study.task_study import tasks_of
from arena.work.executor import Executor, Progress
from meta.breed import judge, next_version, write_down
from meta.evolve import Writers
from meta.kinds.plans import NightPlan, starters_of
from meta.mutators.base import ParentProgram
from meta.mutators.offline.write_ideas import WriteIdeas
from meta.novelty import novelty_on
from programs.program import Program
from trainer.task import Task

FEW = 60  # experiments of a night below which its test hardly ever shows a program that is better
NIGHT = "night"  # label, purpose and role
TRIES = 3  # replies of models for the program of the next night, each of which may be repaired once


@dataclass(frozen=True)
class NightResult:
    """``tested``: the program that the one test compares with the first; ``contributed``: of each program;
    ``following``: for the next night, the better one by the test, else a child that a model writes of the one that
    gained most a turn, or without models the user's with ideas from this night's evidence. ``is_tested``: whether the
    two had as many turns in any block, which the test needs."""

    tested: Program
    following: Program
    parent: Program  # of ``following``
    contributed: tuple[Contributed, ...]
    claim: Claim
    is_tested: bool


def night_is_short(task: Task, run_budget: float) -> bool:
    """Whether a night has too few experiments to show which program is better."""
    return RunCost(task, run_budget).experiments < FEW


def programs_of(study: Study, plan: NightPlan) -> list[Program]:
    """Those that take turns."""
    return [study.program(program_id) for program_id in plan.turns]


def play_turns(study: Study, plan: NightPlan, executor: Executor, progress: Progress) -> None:
    """Play what is left of the night, and measure `main` with fresh seeds. Raises Drained."""
    tasks, (first, *beside) = TaskSet.of(study), programs_of(study, plan)
    entered = [Entry(first, NIGHT, tuple(beside))]
    matches = tasks.enter(NIGHT, entered, purpose=NIGHT, stream="confirmation")
    [arm] = matches[0].arms
    tasks.play(executor, matches, Allocation({arm.arm_id: 1}), progress)
    best_final(tasks.studies[0], executor)


def night_result(study: Study, plan: NightPlan, writers: Writers) -> NightResult:
    """What the turns show, and the program of the next night, of ``writers`` if there are any. The claim is about gains
    per turn, in the task's unit, with the p of the block test."""
    programs = programs_of(study, plan)
    first, tested = programs[:2]
    with read_study(study.folder, views=["contributions"]) as con:
        turns, by_program = turns_of(con), {row.program_id: row for row in contributions(con)}
        sd = seed_sd(con, turns[0].run_id) if turns else None
        facts = evidence_of(study, con, [])
    gains = [[turn.gain for turn in turns if turn.program_id == side.program_id] or [0.0] for side in (tested, first)]
    pair = first.program_id, tested.program_id
    p, is_tested = block_test([(turns, sd)], *pair), bool(equal_blocks([(turns, sd)], *pair))
    per_turn_claim = replace(claim({"champion": gains[0], OWN: gains[1]}), p=p)
    rows = [(program, by_program.get(program.program_id)) for program in programs]
    contributed = tuple(
        Contributed(program.name, row.turns, row.kept, row.gain) if row else Contributed(program.name, 0, 0, 0.0)
        for program, row in rows
    )
    parent, following = first, tested
    best, _ = max(rows, key=lambda found: found[1].gain / found[1].turns if found[1] else 0.0)
    if p >= LEVEL and (child := write_next(study, best, facts, writers)):
        parent, following = best, child
    elif p >= LEVEL:
        parent = study.program(plan.origin)
        rng = np.random.default_rng(study.streams.seed("search", NIGHT, "next"))
        ideas = WriteIdeas().propose([ParentProgram(parent, None)], facts, rng)
        following = parent.with_text(ideas.text, f"{parent.name}-next") if ideas else parent
    return NightResult(tested, following, parent, contributed, per_turn_claim, is_tested)


def write_next(study: Study, parent: Program, facts: Evidence, writers: Writers) -> Program | None:
    """The child of a program that the study's models write, once; None without models or where they write none. Raises
    as `GenerationCalls.ask`."""
    if written := [m.child_id for m in study.state.attempts if m.accepted and m.child_id]:
        return study.program(written[0])
    models = writers(1, facts)
    if not models:
        return None
    writer, novelty = models[0], novelty_on(tasks_of(study))
    older = starters_of(study.config)  # a child without its record was cut off, and is written again from known calls
    for program in older:
        novelty.meet(program)
    rng = np.random.default_rng(study.streams.seed("search", NIGHT, "next"))
    name = next_version(parent.name, [program.name for program in older])
    attempts = []
    for _ in range(TRIES):
        proposal = writer.propose([ParentProgram(parent, None)], facts, rng)
        while proposal:
            attempts.append(judge(proposal, parent, name, novelty))
            writer.report(proposal, refusal := attempts[-1].refusal)
            proposal = proposal.repair(refusal) if attempts[-1].faulty and proposal.repair else None
        if not attempts or not attempts[-1].refusal:
            break
    return next(iter(write_down(study, attempts, 1)), None)
