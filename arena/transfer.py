"""The same programs on several tasks, one match a task at equal budget: does the winner on one task win on others?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.ledger.events import AlikeEvent
from arena.arms import Entry, Match, enter
from arena.executor import Progress
from arena.executors import at_work
from arena.match import play
from arena.race import Allocation
from arena.study import Study
from arena.task_study import TaskStudy, tasks_of
from inner_loop.behaviour import behaviour_id, resolved_ideas
from programs.bare import without_ideas
from programs.ids import content_id
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

BARE = "without-ideas"


@dataclass(frozen=True)
class Entered:
    """The entries on one task. ``alike``: programs that are not run, each with the one that behaves the same there."""

    entries: tuple[Entry, ...]
    alike: tuple[tuple[Program, Program], ...] = ()


def entered_on(task: Task, researcher: str, programs: Sequence[Program], bare: bool) -> Entered:
    """Stock as control, the programs, each also without its ideas if it has any, and stock once more (A/A).

    A program that behaves like an earlier one is not run.
    """
    stock = starter("stock")
    wanted = [Entry(stock, "control"), *(Entry(p) for p in programs if p.program_id != stock.program_id)]
    variants = variants_of(programs) if bare else []
    by_behaviour: dict[str, Entry] = {}
    alike: list[tuple[Program, Program]] = []
    for entry in [*wanted, *(Entry(variant, BARE) for _, variant in variants)]:
        behaviour = behaviour_id(entry.program, task, researcher)
        if entry.role == BARE and (idle := _idle(entry.program, variants, task, researcher, by_behaviour)):
            alike.append((entry.program, idle))
        elif behaviour in by_behaviour:
            alike.append((entry.program, by_behaviour[behaviour].program))
        else:
            by_behaviour[behaviour] = entry
    return Entered((*by_behaviour.values(), Entry(stock, "a/a")), tuple(alike))


def _idle(
    variant: Program,
    variants: Sequence[tuple[Program, Program]],
    task: Task,
    researcher: str,
    by_behaviour: dict[str, Entry],
) -> Program | None:
    """The original of a variant, where its idea list has nothing that applies to this task: leaving it out changes
    nothing for a scripted researcher."""
    for program, made in variants:
        if made.program_id == variant.program_id and researcher == "scripted" and not resolved_ideas(program, task):
            return by_behaviour[behaviour_id(program, task, researcher)].program
    return None


def variants_of(programs: Iterable[Program]) -> list[tuple[Program, Program]]:
    """(program, the same without its ideas) for each that has an idea list."""
    pairs = [(program, without_ideas(program)) for program in programs if program.ideas]
    first: dict[str, tuple[Program, Program]] = {}
    for program, variant in pairs:
        if variant.program_id != program.program_id:
            first.setdefault(variant.program_id, (program, variant))
    return list(first.values())


def play_transfer(study: Study, programs: Sequence[Program], runs: int, bare: bool, progress: Progress) -> list[Match]:
    """Run every program ``runs`` times on each task of ``study``, a match per task; resumes."""
    with at_work(study, progress) as executor:
        admit(study, programs, bare)
        matches = []
        for on in tasks_of(study):
            match = announced(on, programs, bare, progress)
            play(on, executor, match, Allocation({arm.arm_id: runs for arm in match.arms}), progress)
            matches.append(match)
    return matches


def admit(study: Study, programs: Sequence[Program], bare: bool) -> None:
    """Record the programs; a variant without ideas is a child of the original."""
    for program in (starter("stock"), *programs):
        study.admit(program, generation=0, operator="entry")
    for program, variant in variants_of(programs) if bare else []:
        study.admit(variant, generation=0, operator=BARE, parent_ids=[program.program_id])


def announced(on: TaskStudy, programs: Sequence[Program], bare: bool, progress: Progress) -> Match:
    """The match on one task; programs that behave alike there are recorded before it."""
    who = entered_on(on.task, on.config.researcher, programs, bare)
    label = f"transfer-{on.task.name}-{content_id('', *(e.program.program_id for e in who.entries))}"
    match = enter(on, label, who.entries, purpose="race", stream="selection", generation=0)
    for program, like in who.alike:
        note = f"{program.name} is not run, because on {on.task.name} it behaves exactly like {like.name}"
        progress({"kind": "note", "text": note})
        if match.match_id not in on.state.matches:
            on.record(
                AlikeEvent(
                    match_id=match.match_id,
                    task=on.task.name,
                    stream=match.stream,
                    program_id=program.program_id,
                    like_id=like.program_id,
                )
            )
    return match
