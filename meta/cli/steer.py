"""``metaloop steer``: give a running study a program or a veto, and see what came of it."""

from __future__ import annotations

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
    ("metaloop steer studies/NAME --program mine.md", "into the next generation"),
    ("metaloop steer studies/NAME --veto ID", "excludes a program, or programs with a directive"),
    ("metaloop steer studies/NAME", "the requests so far and their outcome"),
)
def steer(
    out: Output,
    study: Annotated[str, argument()],
    program: Annotated[
        str | None, flag("A program that competes in the next generation.", metavar="FILE", command="steer")
    ],
    veto: Annotated[
        str | None, flag("Exclude a program, or all with a directive, as parent and as champion.", metavar="ID")
    ],
    because: Annotated[str | None, flag("Your reason; it is recorded.", metavar="TEXT")],
) -> None:
    """Give a running study a program or a veto. It takes effect when the study writes
    its next generation of programs. The study records it, and marks the program
    as `steered` in the report and champion.evidence.md. Without an option, lists
    the requests so far."""
    from arena.study import Study
    from meta.steering import ask

    folder = resolve.study_folder(study, out)
    opened = Study.open(folder)
    opened.look()
    checks = ((program, "program", program_text), (veto, "veto", vetoable))
    requests = [(given, what, check) for given, what, check in checks if given is not None]
    if len(requests) > 1 or (because and not requests):
        raise UsageError("give one of --program and --veto", hint="metaloop steer --help")
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
        out.next(f"metaloop resume {resolve.typed(folder)}{unsafe}")


def show(out: Output, study: Study) -> None:
    """The requests and their outcomes."""
    from meta.steering import steering_outcomes

    rows = [
        {"what": row.request.what, "request": row.request.name or one_line(row.request.text),
         "because": row.request.because or None, "state": row.state, "outcome": row.outcome, "child_id": row.child_id}
        for row in steering_outcomes(study.folder, study.state)
    ]  # fmt: skip
    how = views.View("", optional=("child_id",))
    views.show(out, rows, how, empty="no requests so far; metaloop steer --help")


def vetoable(study: Study, given: str) -> tuple[str, str]:
    """The id of the program or statement that is meant: an id, the start of one, or a program's name."""
    from meta.steering import parts

    programs = [study.program(program_id) for program_id in study.state.programs]
    named = [program.program_id for program in programs if program.name == given]
    ids = [parts(program) for program in programs]
    chosen = named[0] if len(named) == 1 else resolve.by_prefix(given, set().union(*ids), "program or statement")
    if all(chosen in each for each in ids):
        raise UsageError(f"every program of the study has {chosen}", hint="veto something that some programs lack")
    return chosen, ""


def program_text(study: Study, given: str) -> tuple[str, str]:
    """Text and name of a program that is not in the study and that can run."""
    from meta.breed import lint_error

    program = resolve.one_program(given)
    if program.program_id in study.state.programs:
        raise UsageError(f"{program.name} is in the study as {program.program_id}", hint="metaloop show ID")
    if problem := lint_error(program):
        raise ProgramError(f"{program.name}: {problem}", hint="metaloop program lint FILE")
    return program.document, program.name
