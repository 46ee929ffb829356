"""``metaloop steer``: give a running study a program or a veto, and see what came of it."""

from __future__ import annotations

from typing import Annotated

from arena.study.lock import is_taken
from arena.study.study import Study
from meta import steering
from meta.breed import lint_error
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Output
from meta.kinds.plans import EvolvePlan, stored_plan
from programs.common.errors import ProgramError, UsageError
from programs.common.text import one_line
from trainer import sandbox


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
    folder = resolve.study_folder(study, out)
    steered = Study.open(folder)
    steered.look()
    requests = [text for text in (program, veto) if text is not None]
    if len(requests) > 1 or (because and not requests):
        raise UsageError("give one of --program and --veto", hint="metaloop steer --help")
    if requests:
        plan = stored_plan(steered.config.kind, steered.config.plan)
        last = plan.generations if isinstance(plan, EvolvePlan) else 0
        if steered.state.champion or max(steered.state.generations, default=0) >= last:
            raise UsageError(f"{resolve.shown(folder)} writes no more programs", hint="metaloop evolve starts a study")
    if program is not None:
        document, name = program_text(steered, program)
        steering.ask(folder, "program", document, name=name, because=because or "")
    elif veto is not None:
        steering.ask(folder, "veto", id_to_veto(steered, veto), because=because or "")
    show_requests(out, steered)
    if requests and not is_taken(folder):
        out.note("the study is not running; it takes the request when it is resumed")
        out.next(f"metaloop resume {resolve.typed(folder)}{sandbox.flag(steered.config.sandbox)}")


def show_requests(out: Output, study: Study) -> None:
    """The requests and their outcomes."""
    rows = [
        {"what": row.request.what, "request": row.request.name or one_line(row.request.text),
         "because": row.request.because or None, "state": row.state, "outcome": row.outcome, "child_id": row.child_id}
        for row in steering.steering_outcomes(study.folder, study.state)
    ]  # fmt: skip
    views.show(out, rows, views.View("", optional=("child_id",)), empty="no requests so far; metaloop steer --help")


def id_to_veto(study: Study, text: str) -> str:
    """The id of the program or statement that is meant: an id, the start of one, or a program's name."""
    programs = [study.program(program_id) for program_id in study.state.programs]
    namesakes = [program.program_id for program in programs if program.name == text]
    ids = [steering.parts(program) for program in programs]
    is_name = len(namesakes) == 1
    identity = namesakes[0] if is_name else resolve.by_prefix(text, set().union(*ids), "program or statement")
    if all(identity in parts for parts in ids):
        raise UsageError(f"every program of the study has {identity}", hint="veto something that some programs lack")
    return identity


def program_text(study: Study, text: str) -> tuple[str, str]:
    """Text and name of a program that is not in the study and that can run."""
    program = resolve.one_program(text)
    if program.program_id in study.state.programs:
        raise UsageError(f"{program.name} is in the study as {program.program_id}", hint="metaloop show ID")
    if problem := lint_error(program):
        raise ProgramError(f"{program.name}: {problem}", hint="metaloop program lint FILE")
    return program.document, program.name
