"""``metaloop home``: a project that strangers search and few machines verify."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from analysis.wording import duration, number, span
from arena.lock import is_taken
from inner_loop.models.prices import settled
from meta.cli import launch, resolve
from meta.cli.commands import noun, verb
from meta.cli.flags import HostFlag, ModelFlags, ProxyFlag, RunBudgetFlag, YesFlag
from meta.cli.model_options import parse_models, require_able
from meta.cli.options import argument, flag, rare
from meta.cli.output import Column, Output, ask
from programs.errors import CapReached, NotFound, UsageError

if TYPE_CHECKING:
    from arena.home.chain import Chain
    from arena.home.project import Project
    from trainer.task import Task

ProjectFolder = Annotated[str, argument(metavar="DIR")]
PORT = 8331
figure, gain = partial(Column, right=True), partial(Column, right=True, show=partial(number, decimals=4))
INTERVAL = Column("interval", "95%")
BLOCKS = (
    figure("block"),
    Column("by", wrap=True),
    gain("gain"),
    INTERVAL,
    Column("merged_at", "merged", show=lambda at: str(at)[:16]),  # to the minute, in UTC
    Column("void"),
)
AUDITED = (figure("block"), gain("recorded"), gain("gain"), INTERVAL, Column("verdict", wrap=True))


@noun(
    ("metaloop home init my-project -t strokes", "1: create it"),
    ("metaloop home serve my-project", "2: host it on http://127.0.0.1:8331"),
    ("metaloop home join https://HOST", "on any other machine: search for it"),
)
def home() -> None:
    """Let strangers improve one train.py. The host trains their proposals again, on fresh seeds
    and data, and merges them into main, a git repository, only if they are better."""


@dataclass(frozen=True)
class HomeFlags:
    """The settings of a new project."""

    title: Annotated[str | None, flag("Title  [default: the folder's name].", metavar="TEXT")]
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")]
    programs: Annotated[str, flag("Programs that volunteers follow.", "-p", metavar="NAME|FILE,…", default="stock")]
    run_budget: RunBudgetFlag


@verb(
    ("metaloop home init my-project -t strokes", "volunteers follow stock"),
    ("metaloop home init p2 -p stock,idea-queue,local", "volunteers follow one of three"),
)
def init(out: Output, folder: ProjectFolder, flags: HomeFlags) -> None:
    """Create a project. Its folder holds the secret that all seeds and hidden data are
    drawn from, and main, a git repository."""
    from arena import sandbox
    from arena.home.project import Project
    from arena.setup import StudySetup

    task = launch.load_task(flags.task)
    sandbox.require(task, True)
    programs = resolve.programs(resolve.listed(flags.programs))
    if not programs:
        raise UsageError("name a program", hint="-p stock")
    budget = flags.run_budget or task.run_budget
    launch.refuse_small(task, budget, False)
    setup = StudySetup("home", task, budget, workers=launch.workers_of(None, 1), programs=programs)
    path = Path(folder).expanduser()
    title = flags.title or path.name
    made = Project.create(path, setup, title, [(each, 1.0) for each in programs])
    out.thing({"folder": folder, "project": made.project_id, "task": task.name, "main": made.chain.head})
    out.next(f"metaloop home serve {resolve.typed(path)}")


@verb(
    ("metaloop home serve my-project", "on this machine only"),
    ("metaloop home serve my-project --host 0.0.0.0 --proxy 10.0.0.5", "behind a proxy with TLS on another machine"),
    ("metaloop home serve my-project --void 3 --because 'reads the labels'", "take block 3 back"),
)
def serve(
    out: Output,
    folder: ProjectFolder,
    host: HostFlag,
    port: Annotated[int, flag("Port to listen on; 0 picks a free one.", min=0, max=65535, default=PORT)],
    proxy: ProxyFlag,
    void: Annotated[int | None, flag("Revoke this block; needs --because.", metavar="BLOCK")],
    because: Annotated[str, flag("The reason of --void, for the page and the commit.", metavar="TEXT", default="")],
) -> None:
    """Serve a project and verify the volunteers' proposals. Accepted proposals survive a
    kill; the same command resumes.

    METALOOP_EXECUTOR=ray verifies on the nodes of a Ray cluster (docs/cluster.md). All other
    settings of a project are fixed by `home init`.

    --void revokes a block (an accepted proposal): a new commit restores the version of main
    before it, and the proposals of all later blocks are verified again. If another process
    serves the project, that one does it, and this command returns."""
    from arena.choice import require_chosen
    from arena.home.project import Project
    from arena.home.server import serve as carry_on

    require_chosen()
    path = Path(folder).expanduser()
    if void is not None:
        request_void(Project.open(path), void, because.strip())
        if is_taken(path):
            out.thing({"block": void, "state": "being taken back by the process that serves"})
            return
    elif because:
        raise UsageError("--because is the reason of --void", hint="--void BLOCK")

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        out.note("Ctrl-C stops it; the same command resumes it")

    carry_on(path, host, port, out.note, started, proxy)


def request_void(project: Project, block: int, because: str) -> None:
    """Record the wish, which the process that verifies carries out. Raises NotFound or UsageError."""
    from arena.home.tables import BlockRow

    name = resolve.typed(project.folder)
    if not because:
        raise UsageError("a reason is missing", hint="--because TEXT")
    with project.database.read() as connection:
        row = connection.get(BlockRow, block)
    if row is None or row.proposal_id is None:
        raise NotFound(f"{name} has no block {block} that can be void", hint=f"metaloop status {name}")
    if row.void:
        raise UsageError(f"block {block} is void already: {row.void}")
    if project.database.fact("void").get("block", block) != block:
        raise UsageError("another block is being taken back", hint="try again in a moment")
    project.database.set_fact("void", block=block, because=because)


def show(out: Output, folder: Path) -> None:
    """``metaloop status`` of a project: its blocks, each with its gain over the block before it."""
    from arena.home.project import Project
    from arena.home.results import state_of
    from arena.home.tables import OPEN

    project = Project.open(folder)
    state = state_of(project)
    if out.mode == "json":
        out.thing(asdict(state))
        return
    out.rows(spanned(state.blocks), BLOCKS)
    out.thing(
        {
            "gain": f"in {project.task.unit}",
            "volunteers": state.volunteers,
            "runs in progress": state.runs_out,
            "open proposals": sum(state.proposals.get(each, 0) for each in OPEN),
            "search": duration(state.searched_seconds),
            "verification": duration(state.verified_seconds),
        }
    )


def spanned(rows: Iterable[Any]) -> list[dict[str, object]]:
    """Rows with ``low`` and ``high`` as one text, too."""
    return [asdict(row) | {"interval": span(row.low, row.high, 4)} for row in rows]


@dataclass(frozen=True)
class LimitFlags:
    """What a volunteer grants."""

    runs: Annotated[int | None, flag("Stop after this many runs  [default: no limit].", min=1, metavar="N")]
    devices: Annotated[str, flag("The GPUs that may be used, by number.", metavar="N,…", default="")]
    workers: Annotated[int | None, rare("Simultaneous runs  [default: one for each of --devices].", min=1)]
    max_gb: Annotated[float, rare("GB of memory that a training may take.", min=0.1, default=4.0)]
    yes: YesFlag


@verb(
    ("metaloop home join https://HOST", "one run after the other, until Ctrl-C"),
    ("metaloop home join https://HOST --runs 3 -y", "three runs, without a question"),
)
def join(
    out: Output,
    url: Annotated[str, argument(metavar="URL")],
    name: Annotated[str, flag("Your name on the project's page.", metavar="NAME", default="")],
    folder: Annotated[str, rare("Folder for your token and your runs.", default="metaloop-home")],
    limits: LimitFlags,
    models: ModelFlags,
) -> None:
    """Search for improvements for a project. Its task and its scripts run here, in a sandbox
    without network that sees none of your files. Ctrl-C stops it; the same command resumes.
    The URL is https, or http on this machine, such as the end of an ssh tunnel.
    With --model, or -r command:NAME, your model or agent follows the programs; spending
    limits apply to each run."""
    from arena.home.client import HostClient, JoinedProject, VolunteerFolder
    from arena.home.volunteer import LocalResearcher, VolunteerSession

    researcher, config = parse_models(models)
    require_able(researcher, config, yes=limits.yes)
    path = Path(folder).expanduser().absolute()
    os.environ.setdefault("METALOOP_CACHE", str(path / "cache"))  # all that is written lies in the folder
    follows = LocalResearcher(researcher, settled(config))
    session = VolunteerSession(HostClient(url), VolunteerFolder(path), name, limits.max_gb, out.note, follows)
    known = bool(session.folder.get("project", JoinedProject))
    task = session.preview()
    if not known:
        agree(out, url, path, task, limits.yes)
    gpus = [name.strip() for name in limits.devices.split(",") if name.strip()]
    at_once = limits.workers or max(1, len(gpus))
    if gpus and at_once == 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    about = session.join(at_once)
    out.note(f"joined {about.title}: task {about.task.name}, main is at block {about.block}")
    try:
        session.serve(limits.runs, [gpus[k % len(gpus)] if gpus else "" for k in range(at_once)])
    except (KeyboardInterrupt, CapReached):
        out.note(f"stopped; the unfinished run is kept in {resolve.shown(path)}, and the same command continues it")
    out.thing({"project": about.project, "runs": session.made, "folder": folder})


def agree(out: Output, url: str, folder: Path, task: Task, yes: bool) -> None:
    """Show what will run here, and ask. Raises UsageError without a terminal and --yes."""
    data = "data.py of the task and " if task.has_data else ""
    for line in (
        f"{url} asks this machine to search for a better {', '.join(task.editable)} of the task {task.name}.",
        f"what runs: {data}versions of {', '.join(task.editable)}, also with code that other volunteers wrote, each "
        f"about {task.cost_seconds:.3g} s with at most {task.memory_mb / 1024:.3g} GB of memory",
        f"where: in a sandbox without network, which sees a folder below {resolve.shown(folder)} and no other file",
        "what is sent: your --name, the model of your processor, the number of devices, each run's experiments with "
        "what your model used, and the best file of each run",
        "what is never sent: your files, your environment, keys of language models",
        f"how to stop: Ctrl-C; then delete {resolve.shown(folder)}, which holds all that was written",
    ):
        out.note(line)
    if not yes:
        ask("join?", "there is no terminal to agree in", "read the lines above, then add --yes")


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
    ("metaloop home audit main", "after git clone https://HOST/main.git main"),
    ("metaloop home audit main --blocks 0", "without training"),
)
def audit(out: Output, folder: Annotated[str, argument(metavar="DIR")], choice: AuditChoice) -> int:
    """Check a clone of main, the project's repository. Checks git's hashes, computes the test of each
    block (an accepted proposal) again from its recorded differences, and trains some blocks
    again on fresh seeds and data."""
    from arena.home.chain import Chain

    path = Path(folder).expanduser()
    path = path / "main.git" if (path / "main.git").exists() else path
    if not (path / ".git").exists() and not (path / "objects").is_dir():
        raise NotFound(f"{folder} is no git repository", hint="git clone https://HOST/main.git main")
    with Chain.borrowed(path) as chain:
        return _audit(out, chain, choice)


def _audit(out: Output, chain: Chain, choice: AuditChoice) -> int:
    import random

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
    out.rows(spanned(audited), AUDITED)
    bad = len(wrong) + sum(row.verdict == "contradicted" or row.verdict.startswith("failed") for row in audited)
    out.note(f"{len(chain.commits()) - 1} blocks checked, {len(audited)} trained again, {bad} problems")
    return 1 if bad else 0


def publish(out: Output, folder: Path, target: Path) -> None:
    """``metaloop export`` of a project: main as a git repository; blocks, pairs and runs as CSV."""
    from arena.home.export import written
    from arena.home.project import Project

    out.thing({"folder": str(target), **written(Project.open(folder), target)})


for command in (init, serve, join, audit):
    home.add_command(command)
