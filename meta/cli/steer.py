"""``metaloop steer``: give a running study an idea, a program or a veto, and see what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from analysis.effects.rows import plain
from analysis.wording import listed
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Column, Output, Row, brief
from programs.errors import ProgramError, UsageError
from programs.text import one_line

if TYPE_CHECKING:
    from arena.study import Study
    from meta.steering import Wish
    from programs.program import Program
    from trainer.task import Task

WISHES = (
    Column("what", style="bold"),
    Column("said", "request", wrap=True),
    Column("state"),
    Column("outcome", wrap=True),
    *(Column(key, person=False) for key in ("wish_id", "text", "because", "asked_at", "generation", "child_id")),
)


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
        str | None,
        flag(
            "Exclude a program, or every program with a directive (a sentence or setting): no excluded program "
            "can be a parent or the champion.",
            metavar="ID",
        ),
    ],
    because: Annotated[str | None, flag("Your reason; it is recorded.", metavar="TEXT")],
) -> None:
    """Give a running study an idea, a program or a veto. It takes effect when the study writes
    its next generation of programs. The study records it, and marks the program made from
    it as `steered` in the report and champion.evidence.md. Without an option, lists
    the requests so far."""
    from analysis.ledger.run_state import StudyState
    from arena.study import Study
    from meta.steering import ask, wishes

    folder = resolve.study_folder(study, out)
    opened = Study.open(folder)
    requests = [
        (what, text) for what, text in (("idea", idea), ("program", program), ("veto", veto)) if text is not None
    ]
    if len(requests) > 1:
        raise UsageError("one of --idea, --program and --veto at a time", hint="metaloop steer --help")
    if because and not requests:
        raise UsageError("--because needs a request", hint="add --idea, --program or --veto")
    state = opened.state = StudyState.read(folder / "ledger")
    for what, given in requests:
        refuse_late(opened)
        text, name = checked(opened, what, given)
        ask(folder, what, text, name=name, because=because or "")
        for line in now(opened, text) if what == "idea" else ():
            out.note(line)
        here, following = resolve.typed(folder), max(state.generations, default=0) + 1
        out.note(f"the request waits for generation {following}; metaloop steer {here} shows its outcome")
        if not is_taken(folder):
            out.note(f"the study is not running; metaloop {opened.config.command} --resume {here} resumes it")
    rows = [row(wish) for wish in wishes(folder, state)]
    out.rows(rows, WISHES, empty="no requests so far; metaloop steer --help")


def row(wish: Wish) -> Row:
    """A wish as one row. ``said``: what it is about, shortened."""
    event = wish.event
    return {
        "what": event.what,
        "said": event.name if event.what == "program" else brief(one_line(event.text)),
        "state": wish.state,
        "outcome": wish.outcome,
        "wish_id": event.wish_id,
        "text": event.text,
        "because": event.because or None,
        "asked_at": event.asked_at,
        "generation": event.generation or None,
        "child_id": wish.child_id,
    }


def refuse_late(study: Study) -> None:
    """Raise UsageError if no further generation of the study will be written."""
    name, last = resolve.shown(study.folder), study.config.plan.get("generations", 0)
    if study.config.command not in ("evolve", "improve"):
        raise UsageError(f"{name} writes no programs, so it cannot be steered", hint="metaloop evolve writes them")
    if study.state.champion is not None:
        raise UsageError(f"{name} has ended", hint="metaloop evolve FILE starts a new study")
    if not last or max(study.state.generations, default=0) >= last:
        raise UsageError(f"{name} has written its last generation", hint="start a new study with your request")


def checked(study: Study, what: str, given: str) -> tuple[str, str]:
    """Text and name of a wish; raises MetaloopError for one that could have no effect."""
    if what == "veto":
        return vetoable(study, given), ""
    if what == "idea":
        return an_idea(study, given), ""
    return a_program(study, resolve.one_program(given))


def vetoable(study: Study, given: str) -> str:
    """The id of the program or statement that is meant: an id, the start of one, or a program's name."""
    programs = {program_id: study.program(program_id) for program_id in study.state.programs}
    named = [program_id for program_id, program in programs.items() if program.name == given]
    statements = {each.directive_id for program in programs.values() for each in program.directives}
    chosen = named[0] if len(named) == 1 else resolve.by_prefix(given, {*programs, *statements}, "program or statement")
    parts = [{program_id, *(d.directive_id for d in held.directives)} for program_id, held in programs.items()]
    if all(chosen in ids for ids in parts):
        raise UsageError(f"every program of the study has {chosen}", hint="veto something that some programs lack")
    return chosen


def an_idea(study: Study, given: str) -> str:
    """The idea as one list item. A scripted researcher tries only what it recognises as an edit of a task."""
    from arena.task_set import TaskSet
    from inner_loop.behaviour import resolved_ideas
    from meta.mutators.queue_first import queue_first
    from meta.steering import IDEAS
    from programs.edit import add_directive
    from programs.program import Program

    tasks = [on.task for on in TaskSet.of(study)]
    text = one_line(given) if "`" in given else in_backticks(one_line(given), tasks)
    try:
        program = Program.parse(queue_first(add_directive("# Idea\n", IDEAS, text)), "idea")
    except ProgramError as error:
        raise UsageError(f"--idea: {error.message}", hint="one sentence, as an item of a list") from None
    if study.config.researcher == "scripted" and not any(resolved_ideas(program, task) for task in tasks):
        raise UsageError(
            "the scripted researcher finds no edit of this task in the idea",
            hint=f"name one as KNOB=VALUE; metaloop task show {study.config.task} lists them",
        )
    return text


def now(study: Study, idea: str) -> list[str]:
    """The values that the idea changes as the untouched scripts have them; a reason may assume others."""
    from arena.task_set import TaskSet
    from trainer.values.conditional import read

    tasks: dict[str, list[str]] = {}
    for task in (on.task for on in TaskSet.of(study)):
        edit, config = read(task.edits, re.findall(r"`([^`]+)`", idea)), task.edits.config(task.baseline())
        values = [
            f"{name.lower()}={plain(config[name])}" for name in sorted(edit.knobs if edit else ()) if name in config
        ]
        tasks.setdefault(" ".join(values), []).append(task.name)
    return [f"the untouched script of {listed(names)} has {values}" for values, names in tasks.items() if values]


def in_backticks(text: str, tasks: Sequence[Task]) -> str:
    """The text with each edit of a task in backticks, as programs name them: ``LR=0.2``, or the name of a patch. In a
    shell no one types backticks."""
    knobs = {knob.name.lower(): knob for task in tasks for knob in task.edits.knobs}

    def quoted(term: re.Match[str]) -> str:
        knob = knobs.get(term[1].lower())
        named = knob is not None and (term[2] or knob.kind == "patch")
        return f"`{term[0]}`" if named else term[0]

    return re.sub(r"\b([A-Za-z_]\w*)(=[\w+-]+(?:\.\w+)*)?", quoted, text)


def a_program(study: Study, program: Program) -> tuple[str, str]:
    """Text and name of a program that is not in the study and that can run."""
    from programs.lint import lint

    if program.program_id in study.state.programs:
        raise UsageError(f"{program.name} is in the study as {program.program_id}", hint="metaloop show ID")
    for message in lint(program):
        if message.level == "error":
            raise ProgramError(
                f"{program.name}: line {message.line}: {message.message}", hint="metaloop program lint FILE"
            )
    return program.document, program.name
