"""The starters of the opening race, and the controls of every study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.ledger.writing_events import GenerationEvent, ProgramEvent
from arena.arms import Entry
from arena.study.settings import StudyConfig
from arena.study.study import Study
from inner_loop.contracts import NIGHT_RULES
from meta.kinds.plans import starters_of
from meta.novelty import Novelty
from programs.common.text import word_list
from programs.program import Program
from programs.settings import set_charter
from programs.shelf import in_library, starter
from trainer.task import Task

# The order in which small studies fill their places: the most different strategies first.
DIVERSE = word_list("""
    stock idea-queue local-screen screen-waves local confirm-last tpe-local careful traps-first
""")

#: Of a night without learnt ideas: for a script, and for a model or an agent.
SCRIPTED, FOLLOWED = ("tpe-local",), ("stock", "careful")


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
    own_programs = [program for program in own if program.program_id != stock.program_id]
    if len(own_programs) > 1:
        return [stock, *own_programs, one_line]
    library = [starter(name) for name in DIVERSE[1:]]
    first_programs = [stock, *own_programs, *filter(None, (past, learnt))]
    racing: dict[str, Program] = {}
    for program in (*first_programs, *library):
        racing.setdefault(program.program_id, program)
    least = len({program.program_id for program in first_programs})
    return [*list(racing.values())[: max(2, least, count)], one_line]


def taking_turns(
    own: Program, learnt: Program | None, task: Task, researcher: str, past: Program | None = None
) -> list[Program]:
    """The programs of a night, which no data of it chooses; the second is compared with the first.

    The user's comes first, unless a script does the same under it as under stock; then ``learnt``. Without it, a script
    has one that crosses the best scripts so far, or one that models the results; a model or an agent has stock, or a
    careful one. The champion of a past night is added to them.
    """
    novelty = Novelty([task], researcher, frozenset(NIGHT_RULES))
    crossed = own.with_text(set_charter(own.text, "proposers", {"elite": 0.5, "local": 0.5}), f"{own.name}-elite")
    scripted = researcher == "scripted"
    follows = not scripted or not novelty.alike(own, starter("stock"))
    novelty.meet(own)
    possible = [learnt, *([crossed] if scripted else []), *map(starter, SCRIPTED if scripted else FOLLOWED)]
    others = [program for program in possible if program and novelty.meet(program) is None]
    chosen = [own, others[0]] if follows else others[:2]
    return [*chosen, past] if past and novelty.meet(past) is None else chosen


def racing(programs: Sequence[Program], tasks: Sequence[Task], researcher: str) -> int:
    """How many of the starters the opening race enters: those that behave alike on all tasks run once."""
    return len(entries(programs, Novelty(tasks, researcher))[0])


def entries(programs: Sequence[Program], novelty: Novelty) -> tuple[list[Entry], dict[str, str]]:
    """Entries of the programs that behave differently, with stock as control; and a map of the others to their twin."""
    stock = starter("stock")
    entered, twins = [], {}
    for program in programs:
        if (twin := novelty.meet(program)) is not None:
            twins[program.program_id] = twin
        else:
            entered.append(Entry(program, "control" if program.program_id == stock.program_id else "program"))
    return entered, twins


def admit_starters(
    study: Study, origin: str | None, *, apart: str | None = None, later_turns: Sequence[str] = ()
) -> None:
    """Record generation 0, once. ``origin``: id of the user's program; ``apart``: of a starter that takes no part in
    the search; ``later_turns``: of those that take turns with the first program of a night."""
    if 0 in study.state.generations:
        return
    programs = starters_of(study.config)
    for program in programs:
        operator, parents = origin_of(program, study.config, origin, later_turns)
        study.admit(program, generation=0, operator=operator, parent_ids=parents)
    raced = tuple(program.program_id for program in programs if program.program_id != apart)
    study.record(GenerationEvent(generation=0, program_ids=raced, elite_ids=()))


def origin_of(
    program: Program, config: StudyConfig, origin: str | None, later_turns: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Operator and parents of a starter. The one with ideas learnt on measured tasks is written from the user's; so
    was the champion of a past study of the user's program."""
    program_id, parents = program.program_id, (origin,) if origin else ()
    if (past := config.from_study) and program_id == past.program_id != origin:
        return "past-champion", parents if origin == past.origin else ()
    if config.knowledge and program_id == config.knowledge.program_id:
        return "knowledge", parents
    if parents and program_id in later_turns and not in_library(program):
        return "other-search", parents
    return "starter", ()


def descendants(origin: str, programs: Mapping[str, ProgramEvent]) -> list[str]:
    """``origin`` and every program that descends from it by any parent, in the order in which they were written."""
    family = [origin]
    for program_id, row in programs.items():
        if program_id != origin and any(parent in family for parent in row.parent_ids):
            family.append(program_id)
    return family
