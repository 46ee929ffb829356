"""The same programs on several tasks, one match a task at equal budget: does who wins at home win elsewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.events import AlikeEvent
from arena.drain import drain_on_interrupt
from arena.executor import Progress
from arena.executors import executor_of
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import behaviour_id, resolved_ideas
from programs.bare import without_ideas
from programs.ids import content_id
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

BARE = "without-ideas"


@dataclass(frozen=True)
class Entered:
    """Who plays on one task. ``alike``: programs that do not, each with the one that behaves as it does there."""

    entries: tuple[Entry, ...]
    alike: tuple[tuple[Program, Program], ...] = ()


def entered_on(task: Task, researcher: str, programs: Sequence[Program], bare: bool) -> Entered:
    """Stock as control, the programs, each without its ideas where it has any there, and stock once more (A/A).

    A program that behaves like one before it is not run twice.
    """
    stock = starter("stock")
    wanted = [Entry(stock, "control"), *(Entry(p) for p in programs if p.program_id != stock.program_id)]
    variants = variants_of(programs) if bare else []
    found: dict[str, Entry] = {}
    alike: list[tuple[Program, Program]] = []
    for entry in [*wanted, *(Entry(variant, BARE) for _, variant in variants)]:
        behaviour = behaviour_id(entry.program, task, researcher)
        if entry.role == BARE and (idle := _idle(entry.program, variants, task, researcher, found)):
            alike.append((entry.program, idle))
        elif behaviour in found:
            alike.append((entry.program, found[behaviour].program))
        else:
            found[behaviour] = entry
    return Entered((*found.values(), Entry(stock, "a/a")), tuple(alike))


def _idle(
    variant: Program, variants: Sequence[tuple[Program, Program]], task: Task, researcher: str, found: dict[str, Entry]
) -> Program | None:
    """The program that a variant is made from, where a scripted researcher finds nothing in its list for this task: to
    leave out what is not there changes nothing."""
    for program, made in variants:
        if made.program_id == variant.program_id and researcher == "scripted" and not resolved_ideas(program, task):
            return found[behaviour_id(program, task, researcher)].program
    return None


def variants_of(programs: Iterable[Program]) -> list[tuple[Program, Program]]:
    """(program, the same without its ideas) of each that has a list."""
    pairs = [(program, without_ideas(program)) for program in programs if program.ideas]
    first: dict[str, tuple[Program, Program]] = {}
    for program, variant in pairs:
        if variant.program_id != program.program_id:
            first.setdefault(variant.program_id, (program, variant))
    return list(first.values())


def play_abroad(study: Study, programs: Sequence[Program], runs: int, bare: bool, progress: Progress) -> list[Match]:
    """Play every program ``runs`` times on each task of ``study``, from wherever its ledger stands; a match a task."""
    with study, drain_on_interrupt(study, progress), executor_of(study, progress) as executor:
        admit(study, programs, bare)
        matches = []
        for there in study.on_tasks():
            match = announced(there, programs, bare, progress)
            play(there, executor, match, Allocation({arm.arm_id: runs for arm in match.arms}), progress)
            matches.append(match)
    return matches


def admit(study: Study, programs: Sequence[Program], bare: bool) -> None:
    """Write down who may take part, a program without its ideas as the child of the one that has them."""
    for program in (starter("stock"), *programs):
        study.admit(program, generation=0, operator="entry")
    for program, variant in variants_of(programs) if bare else []:
        study.admit(variant, generation=0, operator=BARE, parent_ids=[program.program_id])


def announced(study: Study, programs: Sequence[Program], bare: bool, progress: Progress) -> Match:
    """The match on the task that the study is on; who behaves like whom there is written down before it."""
    who = entered_on(study.task, study.config.researcher, programs, bare)
    label = f"transfer-{study.task.name}-{content_id('', *(e.program.program_id for e in who.entries))}"
    match = enter(study, label, who.entries, purpose="race", stream="selection", generation=0)
    for program, like in who.alike:
        note = f"{program.name} behaves like {like.name} on {study.task.name}: not run twice"
        progress({"kind": "note", "text": note})
        if match.match_id not in study.state.matches:
            study.record(
                AlikeEvent(
                    match_id=match.match_id,
                    task=study.task.name,
                    stream=match.stream,
                    program_id=program.program_id,
                    like_id=like.program_id,
                )
            )
    return match
