"""``metaloop home``: a project that strangers search and few machines verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import launch, resolve
from meta.cli.flags import RunBudgetFlag, YesFlag
from meta.cli.options import argument, flag, noun, verb
from meta.cli.output import Column, Output
from programs.errors import UsageError

if TYPE_CHECKING:
    from programs.program import Program

ProjectFolder = Annotated[str, argument(metavar="DIR")]
PORT = 8331
BLOCKS = (
    Column("block", right=True),
    Column("by", flex=True),
    Column("gain", right=True),
    Column("interval", "95%"),
    Column("merged", flex=True),
    Column("void", flex=True),
)
PROGRAMS = (
    Column("program", flex=True),
    Column("runs", right=True),
    Column("blocks", right=True),
    Column("scored", right=True),
    Column("gain", right=True),
    Column("difference", right=True),
    Column("interval", "95%"),
)


@noun(
    ("metaloop home init my-project -t strokes", "1: create it"),
    ("metaloop home serve my-project", "2: host it on http://127.0.0.1:8331"),
    ("metaloop home join http://HOST:8331", "on any other machine: search for it"),
)
def home() -> None:
    """Let strangers improve one train.py. Their proposals are trained again here, on
    fresh seeds and data, and merged into main only if they are better."""


@dataclass(frozen=True)
class HomeFlags:
    """The settings of a new project."""

    title: Annotated[str | None, flag("Title  [default: the folder's name].", metavar="TEXT")]
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")]
    programs: Annotated[str, flag("Programs that volunteers follow.", "-p", metavar="NAME|FILE,…", default="stock")]
    run_budget: RunBudgetFlag


@verb(
    ("metaloop home init my-project -t strokes", "volunteers follow stock"),
    ("metaloop home init p2 -p stock,idea-queue,local", "three programs are compared"),
)
def init(out: Output, folder: ProjectFolder, flags: HomeFlags) -> None:
    """Create a project. Its folder holds the secret that all seeds and hidden data are
    drawn from, and main, a git repository."""
    from arena import sandbox
    from arena.home.project import Project
    from arena.setup import StudySetup

    task = launch.load_task(flags.task)
    sandbox.require(task, True)
    programs = programs_of(flags.programs)
    budget = flags.run_budget or task.run_budget
    launch.refuse_small(task, budget, False)
    setup = StudySetup("home", task, budget, workers=launch.workers_of(None, 1), programs=programs)
    path = Path(folder).expanduser()
    title = flags.title or path.name
    made = Project.create(path, setup, title, [(each, 1.0) for each in programs])
    out.thing({"folder": folder, "project": made.project_id, "task": task.name, "main": made.chain.head})
    out.note(f"next: metaloop home serve {resolve.typed(path)}")


def programs_of(names: str) -> Sequence[Program]:
    programs = [resolve.one_program(name.strip()) for name in names.split(",") if name.strip()]
    if not programs:
        raise UsageError("name a program", hint="-p stock")
    return programs


@verb(
    ("metaloop home serve my-project", "on this machine only"),
    ("metaloop home serve my-project --host 0.0.0.0 --port 80", "reachable from other machines"),
)
def serve(
    out: Output,
    folder: ProjectFolder,
    host: Annotated[str, flag("Address to listen on.", default="127.0.0.1")],
    port: Annotated[int, flag("Port to listen on; 0 picks a free one.", min=0, max=65535, default=PORT)],
) -> None:
    """Serve a project and verify what volunteers propose. Accepted proposals survive a
    kill; the same command resumes."""
    from arena.home.server import serve as carry_on

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        out.note("Ctrl-C stops it; the same command resumes it")

    carry_on(Path(folder).expanduser(), host, port, out.note, started)


@verb(
    ("metaloop home join http://HOST:8331", "one run after the other, until Ctrl-C"),
    ("metaloop home join http://HOST:8331 --runs 3 -y", "three runs, without a question"),
)
def join(
    out: Output,
    url: Annotated[str, argument(metavar="URL")],
    name: Annotated[str, flag("Your name on the project's page.", metavar="NAME", default="")],
    folder: Annotated[str, flag("Where your key and runs lie.", metavar="DIR", default="metaloop-home")],
    runs: Annotated[int | None, flag("Stop after so many runs  [default: at Ctrl-C].", min=1, metavar="N")],
    yes: YesFlag,
) -> None:
    """Search for a project. Its task and its scripts run here, in a sandbox without
    network that sees none of your files. Ctrl-C stops it; the same command resumes."""
    from arena.home.volunteer import HostClient, VolunteerFolder, VolunteerSession

    path = Path(folder).expanduser()
    session = VolunteerSession(HostClient(url), VolunteerFolder(path), name, 1, out.note)
    about = session.join()
    out.note(f"joined {about['title']}: task {about['task']['name']}, main is at block {about['block']}")
    made = 0
    while runs is None or made < runs:
        session.step()
        made += 1
    out.thing({"project": about["project"], "runs": made, "folder": folder})


@verb(
    ("metaloop home status my-project", "the blocks of main"),
    ("metaloop home status my-project --json", "for a script"),
)
def status(out: Output, folder: ProjectFolder) -> None:
    """The blocks of main, who found them, and what they gained over the one before.
    Then the programs: runs of each from the same block are compared."""
    from analysis.wording import number, span
    from arena.home.project import Project
    from arena.home.results import state_of

    project = Project.open(Path(folder).expanduser())
    state = state_of(project)
    if out.mode == "json":
        out.thing(state)
        return
    out.rows(
        [
            {
                "block": row["block"],
                "by": row["by"],
                "gain": number(row["gain"], 4),
                "interval": span(row["low"], row["high"], 4) if row["block"] else "–",
                "merged": row["merged_at"][:16].replace("T", " "),
                "void": row["void"],
            }
            for row in state["blocks"]
        ],
        BLOCKS,
    )
    out.note("")
    out.rows(
        [
            {
                "program": row["name"],
                "runs": row["runs"],
                "blocks": row["blocks"],
                "scored": row["sampled"],
                "gain": number(row["gain"], 4),
                "difference": number(row["difference"], 4, True),
                "interval": span(row["low"], row["high"], 4) if row["low"] is not None else "too few runs",
            }
            for row in state["programs"]
        ],
        PROGRAMS,
    )
    share = state["verified_seconds"] / state["searched_seconds"] if state["searched_seconds"] else 0.0
    out.note("")
    out.note(f"gain: {project.task.unit} per device-second over the run's base; difference: from the other programs")
    out.note(f"{state['volunteers']} volunteers, {state['runs_out']} runs out, {len(state['open'])} proposals open")
    searched, verified = state["searched_seconds"], state["verified_seconds"]
    out.note(f"device-seconds: {searched:.0f} of search, {verified:.0f} of verification ({share:.0%})")


for command in (init, serve, join, status):
    home.add_command(command)
