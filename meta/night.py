"""The night of a study: it is played as one run, and then tells what each program contributed to `main`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.effects.contributions import block_test, contributions, seed_sd, turns_of
from analysis.study import read_study
from analysis.verdict.decision import LEVEL, Contributed
from arena.arms import Entry
from arena.executor import Executor, Progress
from arena.harvest import best_final
from arena.race import Allocation
from arena.study import Study
from arena.task_set import TaskSet, evidence_of
from meta.claim import OWN, Claim, claim
from meta.mutators.base import ParentProgram
from meta.mutators.offline.write_ideas import WriteIdeas
from meta.study.plan import TURNS
from programs.program import Program

NIGHT = "night"  # label, purpose and role


@dataclass(frozen=True)
class NightSeen:
    """``tested``: the program that the one test compares with the first; ``contributed``: of each program;
    ``following``: for the next night, the better one, else the user's with ideas from this night's evidence."""

    tested: Program
    following: Program
    parent: Program  # of ``following``
    contributed: tuple[Contributed, ...]
    claim: Claim


def programs_of(study: Study) -> list[Program]:
    """Those that take turns."""
    return [study.program(program_id) for program_id in study.config.plan[TURNS]]


def play_night(study: Study, executor: Executor, progress: Progress) -> None:
    """Play what is left of it, and measure `main` with fresh seeds. Raises Drained."""
    tasks, (first, *beside) = TaskSet.of(study), programs_of(study)
    entered = [Entry(first, NIGHT, tuple(beside))]
    matches = tasks.enter(NIGHT, entered, purpose=NIGHT, stream="confirmation")
    [arm] = matches[0].arms
    tasks.play(executor, matches, Allocation({arm.arm_id: 1}), progress)
    best_final(tasks.studies[0], executor)


def night_seen(study: Study) -> NightSeen:
    """What the turns show. The claim is about gains per turn, in the task's unit, with the p of the block test."""
    programs = programs_of(study)
    first, tested = programs[:2]
    with read_study(study.folder, views=["contributions"]) as con:
        turns, each = turns_of(con), {one.program_id: one for one in contributions(con)}
        sd = seed_sd(con, turns[0].run_id) if turns else None
        facts = evidence_of(study, con, [])
    gains = [[row.gain for row in turns if row.program_id == one.program_id] or [0.0] for one in (tested, first)]
    p = block_test([(turns, sd)], first.program_id, tested.program_id)
    seen = replace(claim({"champion": gains[0], OWN: gains[1]}), p=p)
    contributed = tuple(
        Contributed(one.name, mine.turns if mine else 0, mine.kept if mine else 0, mine.gain if mine else 0.0)
        for one, mine in ((one, each.get(one.program_id)) for one in programs)
    )
    parent, following = first, tested
    if p >= LEVEL:
        parent = study.program(str(study.config.plan["origin"]))
        rng = np.random.default_rng(study.streams.seed("search", NIGHT, "next"))
        child = WriteIdeas().propose([ParentProgram(parent, None)], facts, rng)
        following = parent.with_text(child.text, f"{parent.name}-next") if child else parent
    return NightSeen(tested, following, parent, contributed, seen)
