"""``metaloop home``: a project that strangers search and few machines verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import launch, resolve
from meta.cli.flags import ProxyFlag, RunBudgetFlag
from meta.cli.home_join import join
from meta.cli.options import argument, flag, noun, verb
from meta.cli.output import Column, Output
from programs.errors import MetaloopError, NotFound, UsageError

if TYPE_CHECKING:
    from arena.home.chain import Chain
    from programs.program import Program

ProjectFolder = Annotated[str, argument(metavar="DIR")]
PORT = 8331
BLOCKS = (
    Column("block", right=True),
    Column("by", wrap=True),
    Column("gain", right=True),
    Column("interval", "95%"),
    Column("merged", wrap=True),
    Column("void", wrap=True),
)
PROJECTS = (
    Column("folder", wrap=True),
    Column("title", wrap=True),
    Column("task"),
    Column("blocks", right=True),
    Column("volunteers", right=True),
)
AUDITED = (
    Column("block", right=True),
    Column("recorded", right=True),
    Column("gain", right=True),
    Column("interval", "95%"),
    Column("verdict", wrap=True),
)
PROGRAMS = (
    Column("program", wrap=True),
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
    """Let strangers improve one train.py. The host trains their proposals again, on fresh seeds
    and data, and merges them into main, a git repository, only if they are better."""


@verb(("metaloop home ls", "the projects in this folder"), ("metaloop home ls --json", "for a script"), name="ls")
def ls(out: Output) -> None:
    """List the projects in this folder."""
    from arena.home.project import Project
    from arena.home.results import state_of

    rows = []
    for path in sorted(Path().glob("*/home.sqlite")):
        try:
            project = Project.open(path.parent)
            state = state_of(project)
        except MetaloopError as error:
            out.warn(f"{path.parent}: {error.message}")
            continue
        title, blocks = project.database.fact("project")["title"], state.blocks[-1].block
        row = {"folder": str(path.parent), "title": title, "task": project.task.name}
        rows.append(row | {"blocks": blocks, "volunteers": state.volunteers})
    out.rows(rows, PROJECTS, empty="no project here; create one: metaloop home init DIR")


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
    proxy: ProxyFlag,
) -> None:
    """Serve a project and verify the volunteers' proposals. Accepted proposals survive a
    kill; the same command resumes."""
    from arena.home.server import serve as carry_on

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        out.note("Ctrl-C stops it; the same command resumes it")

    carry_on(Path(folder).expanduser(), host, port, out.note, started, proxy)


@verb(
    ("metaloop home status my-project", "the blocks of main"),
    ("metaloop home status my-project --json", "for a script"),
)
def status(out: Output, folder: ProjectFolder) -> None:
    """Show the accepted proposals (blocks), and compare the programs. A block's gain is the
    improvement over the block before it. Programs are compared only by runs that started
    from the same block."""
    from analysis.wording import number, span
    from arena.home.project import Project
    from arena.home.results import state_of
    from arena.home.tables import OPEN

    project = Project.open(Path(folder).expanduser())
    state = state_of(project)
    if out.mode == "json":
        out.thing(asdict(state))
        return
    out.rows(
        [
            {
                "block": row.block,
                "by": row.by,
                "gain": number(row.gain, 4),
                "interval": span(row.low, row.high, 4) if row.block else "–",
                "merged": row.merged_at[:16].replace("T", " "),
                "void": row.void,
            }
            for row in state.blocks
        ],
        BLOCKS,
    )
    out.note("")
    out.rows(
        [
            {
                "program": row.name,
                "runs": row.runs,
                "blocks": row.blocks,
                "scored": row.sampled,
                "gain": number(row.gain, 4),
                "difference": number(row.difference, 4, True),
                "interval": span(row.low, row.high, 4) if row.low is not None else "too few runs",
            }
            for row in state.programs
        ],
        PROGRAMS,
    )
    share = state.verified_seconds / state.searched_seconds if state.searched_seconds else 0.0
    out.note("")
    out.note(
        f"gain: {project.task.unit} per device-second over the run's starting script; difference: to the other programs"
    )
    open_ = sum(state.proposals.get(each, 0) for each in OPEN)
    out.note(f"{state.volunteers} volunteers, {state.runs_out} runs in progress, {open_} proposals open")
    searched, verified = state.searched_seconds, state.verified_seconds
    out.note(f"device-seconds: {searched:.0f} of search, {verified:.0f} of verification ({share:.0%})")


@dataclass(frozen=True)
class AuditChoice:
    """What an audit measures again."""

    task: Annotated[str | None, flag("The task of main  [default: that of block 0].", "-t", metavar="NAME|DIR")]
    blocks: Annotated[int, flag("Number of blocks to train again; 0: none.", min=0, metavar="N", default=3)]
    seeds: Annotated[
        int, flag("Fresh seeds for a block, and for the one before it.", min=2, max=100, metavar="N", default=6)
    ]
    workers: Annotated[int | None, flag("Trainings at a time  [default: all cores].", min=1, metavar="N")]


@verb(
    ("metaloop home audit main", "after git clone http://HOST:8331/main.git main"),
    ("metaloop home audit main --blocks 0", "without training"),
)
def audit(out: Output, folder: Annotated[str, argument(metavar="DIR")], choice: AuditChoice) -> int:
    """Check a clone of main, the project's repository. Checks git's hashes, computes the test of each
    block (an accepted proposal) again from its recorded differences, and trains some blocks
    again on fresh seeds and data."""
    from arena.home.chain import Chain

    path = Path(folder).expanduser()
    inner = next((path / name for name in ("main.git", ".git") if (path / name).exists()), path)
    if not (inner / "objects").is_dir():
        raise NotFound(f"{folder} is no git repository", hint="git clone http://HOST:8331/main.git main")
    with Chain.borrowed(inner) as chain:
        return _audit(out, chain, choice)


def _audit(out: Output, chain: Chain, choice: AuditChoice) -> int:
    import random

    from analysis.wording import number, span
    from arena import sandbox
    from arena.home.audit import problems, retrain
    from arena.verify import How
    from programs.text import one_line
    from trainer.streams import Streams
    from trainer.task import builtin_tasks

    named = chain.message(chain.commits()[0]).partition("the baseline of ")[2].strip() if chain.commits() else ""
    if not choice.task and named not in builtin_tasks():
        message = f"main is of a task that is not part of metaloop: {one_line(named)[:80] or 'unnamed'}"
        raise UsageError(message, hint="name it, if you trust its code: -t DIR")
    task = launch.load_task(choice.task or named)
    wrong = list(problems(chain, task))
    for line in wrong:
        out.note(f"WRONG: {line}")
    streams = Streams.fresh()
    how = How(streams, launch.workers_of(choice.workers, 1))
    audited = []
    if choice.blocks and not wrong:
        sandbox.require(task, True)
        drawn = random.Random(streams.seed("search", "audit"))
        audited = retrain(chain, task, how, choice.blocks, choice.seeds, out.note, drawn)
    rows = [
        {
            "block": row.block,
            "recorded": number(row.recorded, 4),
            "gain": number(row.gain, 4),
            "interval": span(row.low, row.high, 4),
            "verdict": row.verdict,
        }
        for row in audited
    ]
    out.rows([asdict(row) for row in audited] if out.mode == "json" else rows, AUDITED)
    bad = len(wrong) + sum(row.verdict == "contradicted" or row.verdict.startswith("failed") for row in audited)
    out.note(f"{len(chain.commits()) - 1} blocks checked, {len(audited)} trained again, {bad} problems")
    return 1 if bad else 0


@verb(
    ("metaloop home void my-project 3 --because 'reads the labels'", "take block 3 back"),
    ("metaloop home status my-project", "which blocks are void"),
)
def void(
    out: Output,
    folder: ProjectFolder,
    block: Annotated[int, argument(metavar="BLOCK", type=int)],
    because: Annotated[str, flag("Your reason, for the page and the commit (required).", metavar="TEXT", default="")],
) -> None:
    """Revoke a block (an accepted proposal). A new commit restores the version of main before
    it, and the proposals of all later blocks are verified again. The serving process does
    this; if none runs, the next one does."""
    from arena.home.project import Project
    from arena.home.tables import BlockRow

    project = Project.open(Path(folder).expanduser())
    if not because.strip():
        raise UsageError("a reason is missing", hint="--because TEXT")
    with project.database.read() as connection:
        row = connection.get(BlockRow, block)
    if row is None or row.proposal_id is None:
        raise NotFound(f"{folder} has no block {block} that can be void", hint=f"metaloop home status {folder}")
    if row.void:
        raise UsageError(f"block {block} is void already: {row.void}")
    if project.database.fact("void"):
        raise UsageError("another block is being taken back", hint="try again in a moment")
    project.database.set_fact("void", block=block, because=because)
    out.thing({"block": block, "state": "being taken back by the process that serves"})


@verb(
    ("metaloop home export my-project results", "main, blocks, pairs and runs as files"),
    ("metaloop report my-project", "the report of the same project"),
)
def export(out: Output, folder: ProjectFolder, target: Annotated[str, argument(metavar="TO")]) -> None:
    """Write main as a git repository and blocks, pairs and runs as CSV. A block is an accepted
    proposal. A pair is two trainings of its test: one of main, one of the proposal. The
    secret and all hidden data are left out."""
    from arena.home.export import written
    from arena.home.project import Project

    made = written(Project.open(Path(folder).expanduser()), Path(target).expanduser())
    out.thing({"folder": target, **made})


for command in (ls, init, serve, join, status, audit, void, export):
    home.add_command(command)
