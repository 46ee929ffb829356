"""The starters of the opening race, and the controls of every study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.writing_events import ProgramEvent
from arena.arms import Entry
from meta.novelty import Novelty
from programs.charter_edit import charter_fields
from programs.edit import set_charter
from programs.program import Program
from programs.shelf import starter
from programs.text import word_list
from trainer.cards.screening import ScreenShape, best_shape
from trainer.task import Task

# The order in which small studies fill their places: the most different strategies first.
DIVERSE = word_list("""
    stock idea-queue local-screen screen-waves local recombine branches confirm-last tpe-local careful traps-first
""")


def starters(
    count: int, own: Sequence[Program] = (), learnt: Program | None = None, past: Program | None = None
) -> list[Program]:
    """The programs of generation 0: stock, the user's, and the library's unless the user gave several.

    ``past``: the champion of a past study; ``learnt``: a program with ideas learnt on measured tasks. Both come before
    the library's, of which as many give up their places.

    The library adds evidence and diversity to one user program; several are raced among themselves. The one-line
    control comes last, beyond ``count``: if it behaves like stock it costs nothing.
    """
    stock, one_line = starter("stock"), starter("one-line")
    mine = [program for program in own if program.program_id != stock.program_id]
    if len(mine) > 1:
        return [stock, *mine, one_line]
    library = [starter(name) for name in DIVERSE[1:]]
    given = [stock, *mine, *([past] if past else []), *([learnt] if learnt else [])]
    racing: dict[str, Program] = {}
    for program in (*given, *library):
        racing.setdefault(program.program_id, program)
    least = len({program.program_id for program in given})
    return [*list(racing.values())[: max(2, least, count)], one_line]


def screening(own: Sequence[Program], task: Task, experiments: int) -> tuple[ScreenShape | None, str]:
    """(how the program of a trial screens its candidates by short trainings, or None; why)."""
    base = own[0] if own else starter("stock")
    if charter_fields(base.text).keys() & {"wave", "screen.fraction", "screen.promote", "phases"}:
        shortened = any(charter.screen.fraction < 1 for _, charter in base.charter.by_phase())
        return None, "as your program sets it" if shortened else "not used: your program sets its own waves or phases"
    return best_shape(task, experiments)


def screened(program: Program, shape: ScreenShape) -> Program:
    """The program with such a screen, under the same name."""
    text = set_charter(program.text, "wave", shape.wave)
    text = set_charter(text, "screen.fraction", shape.fraction)
    return program.with_text(set_charter(text, "screen.promote", round(shape.chosen / shape.wave, 3)), program.name)


def candidate(
    own: Sequence[Program],
    learnt: Program | None,
    novelty: Novelty,
    screen: ScreenShape | None = None,
    past: Program | None = None,
) -> Program:
    """The program of a trial, which no data of it chooses: the champion of a past study, else ``learnt``, else the
    user's with another search (crosses of the best scripts so far), else one of the library; the first that behaves
    differently from the user's. The one with another search screens as ``screen`` says."""
    base = own[0] if own else starter("stock")
    crossing = set_charter(base.text, "proposers", {"elite": 0.5, "local": 0.5})
    possible = [program for program in (past, learnt) if program]
    crossed = Program.parse(crossing, f"{base.name}-elite")
    possible += [screened(crossed, screen) if screen else crossed, *(starter(name) for name in DIVERSE[1:])]
    usual = novelty.behaviour(base)
    return next(program for program in possible if novelty.behaviour(program) != usual)


def entries(programs: Sequence[Program], novelty: Novelty) -> tuple[list[Entry], dict[str, str]]:
    """Entries of the programs that behave differently, with stock as control; and a map of the others to their twin."""
    stock = starter("stock")
    entered, twins = [], {}
    for program in programs:
        twin = novelty.meet(program)
        if twin is not None:
            twins[program.program_id] = twin
            continue
        entered.append(Entry(program, "control" if program.program_id == stock.program_id else "program"))
    return entered, twins


def twin_of_stock() -> Entry:
    """The second arm of stock (A/A): the difference of two arms of one program is noise."""
    return Entry(starter("stock"), "a/a")


def descendants(origin: str, programs: Mapping[str, ProgramEvent]) -> list[str]:
    """``origin`` and every program that descends from it by any parent, in the order in which they were written."""
    family = [origin]
    for program_id, row in programs.items():
        if program_id != origin and any(parent in family for parent in row.parent_ids):
            family.append(program_id)
    return family
