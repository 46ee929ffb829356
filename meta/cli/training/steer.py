"""``metaloop steer``: give a running study an idea, a program or a veto, and see what came of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from arena.lock import is_taken
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Output
from programs.errors import ProgramError, UsageError
from programs.text import one_line
from trainer import sandbox

if TYPE_CHECKING:
    from arena.study import Study


@verb(
    ('metaloop steer studies/NAME --idea "try LR=0.2"', "into the next generation"),
    ("metaloop steer studies/NAME --veto ID", "excludes a program, or programs with a directive"),
    ("metaloop steer studies/NAME", "the requests so far and their outcome"),
)
def steer(
    out: Output,
    study: Annotated[str, argument()],
    idea: Annotated[str | None, flag("An idea: the study adds it to a copy of a good program.", metavar="TEXT")],
    program: Annotated[
        str | None, flag("A program that competes in the next generation.", metavar="FILE", command="steer")
    ],
    veto: Annotated[
        str | None, flag("Exclude a program, or all with a directive, as parent and as champion.", metavar="ID")
    ],
    because: Annotated[str | None, flag("Your reason; it is recorded.", metavar="TEXT")],
) -> None:
    """Give a running study an idea, a program or a veto. It takes effect when the study writes
    its next generation of programs. The study records it, and marks the program made from
    it as `steered` in the report and champion.evidence.md. Without an option, lists
    the requests so far."""
    from arena.study import Study
    from meta.study.steering import ask

    folder = resolve.study_folder(study, out)
    opened = Study.open(folder)
    opened.look()
    checks = ((idea, "idea", idea_text), (program, "program", program_text), (veto, "veto", vetoable))
    requests = [(given, what, check) for given, what, check in checks if given is not None]
    if len(requests) > 1 or (because and not requests):
        raise UsageError("give one of --idea, --program and --veto", hint="metaloop steer --help")
    for given, what, check in requests:
        last = opened.config.plan.get("generations", 0)
        if opened.state.champion or max(opened.state.generations, default=0) >= last:
            raise UsageError(f"{resolve.shown(folder)} writes no more programs", hint="metaloop evolve starts a study")
        text, name = check(opened, given)
        ask(folder, what, text, name=name, because=because or "")
    show(out, opened)
    if requests and not is_taken(folder):
        out.note("the study is not running; it takes the request when it is resumed")
        unsafe = sandbox.flag(opened.config.sandbox)
        out.next(f"metaloop {opened.config.command} --resume {resolve.typed(folder)}{unsafe}")


def show(out: Output, study: Study) -> None:
    """The requests and their outcomes; of a program that ran beside its parent, its gain over that."""
    from meta.study.steering import wishes

    asked, how, gains = list(wishes(study.folder, study.state)), views.view("steer"), {}
    if any(wish.child_id for wish in asked):
        with resolve.connect(study.folder, ["credit"]) as con:
            gains = {row["child_id"]: row for row in how.rows(con)}
    rows = []
    for wish in asked:
        request = {"what": wish.event.what, "request": wish.event.name or one_line(wish.event.text)}
        outcome = {"because": wish.event.because or None, "state": wish.state, "outcome": wish.outcome}
        gain = gains.get(wish.child_id, dict.fromkeys(("estimate", "low", "high", "n", "unit")))
        rows.append(request | outcome | gain | {"child_id": wish.child_id})
    views.show(out, rows, how, empty="no requests so far; metaloop steer --help")


def vetoable(study: Study, given: str) -> tuple[str, str]:
    """The id of the program or statement that is meant: an id, the start of one, or a program's name."""
    from meta.study.steering import parts

    programs = [study.program(program_id) for program_id in study.state.programs]
    named = [program.program_id for program in programs if program.name == given]
    ids = [parts(program) for program in programs]
    chosen = named[0] if len(named) == 1 else resolve.by_prefix(given, set().union(*ids), "program or statement")
    if all(chosen in each for each in ids):
        raise UsageError(f"every program of the study has {chosen}", hint="veto something that some programs lack")
    return chosen, ""


def idea_text(study: Study, given: str) -> tuple[str, str]:
    """The idea as one list item, with each edit of a task in backticks, as programs name them: in a shell no one types
    backticks. A scripted researcher tries only what it recognises as an edit of a task."""
    from arena.task_set import TaskSet
    from inner_loop.behaviour import resolved_ideas
    from meta.mutators.queue_first import queue_first
    from meta.study.steering import with_idea
    from programs.program import Program
    from trainer.values.conditional import read

    tasks = [task_study.task for task_study in TaskSet.of(study)]

    def quoted(term: re.Match[str]) -> str:
        return f"`{term[0]}`" if any(read(task.edits, [term[0]]) for task in tasks) else term[0]

    text = one_line(given)
    text = text if "`" in text else re.sub(r"\b[A-Za-z_]\w*(?:=[\w+-]+(?:\.\w+)*)?", quoted, text)
    program = Program.parse(queue_first(with_idea("# Idea\n", text)), "idea")
    if study.config.researcher == "scripted" and not any(resolved_ideas(program, task) for task in tasks):
        raise UsageError(
            "the scripted researcher finds no edit of this task in the idea",
            hint=f"name one as KNOB=VALUE; metaloop task show {study.config.task} lists them",
        )
    return text, ""


def program_text(study: Study, given: str) -> tuple[str, str]:
    """Text and name of a program that is not in the study and that can run."""
    from meta.breed import lint_error

    program = resolve.one_program(given)
    if program.program_id in study.state.programs:
        raise UsageError(f"{program.name} is in the study as {program.program_id}", hint="metaloop show ID")
    if problem := lint_error(program):
        raise ProgramError(f"{program.name}: {problem}", hint="metaloop program lint FILE")
    return program.document, program.name
