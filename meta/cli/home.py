"""``metaloop home``: a project that strangers search and few machines verify."""

from __future__ import annotations

import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from analysis.wording import duration
from arena.audit.verify import How
from arena.home.audit import problems, retrain
from arena.home.chain import Chain
from arena.home.project import Project
from arena.home.state import state_of
from arena.home.volunteer import HostClient, LocalSearch, VolunteerSession
from arena.study.lock import is_taken
from arena.work import sandbox
from arena.work.choice import require_chosen
from inner_loop.models.prices import settled
from meta.cli import resolve, views
from meta.cli.commands import noun, verb
from meta.cli.flags import HostFlag, ModelFlags, ProxyFlag, RunBudgetFlag, YesFlag
from meta.cli.model_options import parse_models, require_able
from meta.cli.new_study import load_task, workers_of
from meta.cli.options import argument, flag, rare
from meta.cli.output import Output, ask
from meta.cli.views import View
from meta.kinds.cost import refuse_small
from meta.kinds.program_checks import refuse_inert
from programs.common.errors import CapReached, NotFound, UsageError
from programs.common.text import one_line
from trainer.streams import Streams
from trainer.task import Task, builtin_tasks
from trainer.user_files import private_folder

ProjectFolder = Annotated[str, argument(metavar="DIR")]
PORT = 8331
BLOCKS = View("", hide=("commit", "proposal"))
AUDITED = View("", hide=("commit",))


@noun(
    ("metaloop home init my-project -t strokes", "1: create it"),
    ("metaloop home serve my-project", "2: host it on http://127.0.0.1:8331"),
    ("metaloop home join https://HOST", "on any other machine: search for it"),
)
def home() -> None:
    """Let strangers improve one train.py. They search on their own; the host trains their proposals
    again, on fresh seeds and data, and merges them into main, a git repository, only if they are better."""


@verb(
    ("metaloop home init my-project -t strokes", "runs of the task's own budget"),
    ("metaloop home init p2 -t tinylm -b 1h", "runs of an hour, unless a volunteer asks for others"),
)
def init(
    out: Output,
    folder: ProjectFolder,
    title: Annotated[str | None, flag("Title  [default: the folder's name].", metavar="TEXT")],
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")],
    run_budget: RunBudgetFlag,
) -> None:
    """Create a project. Its folder holds the secret that all seeds and hidden data are
    drawn from, and main, a git repository. -b is what a volunteer's run uses by default."""
    loaded = load_task(task)
    sandbox.require(loaded, True)
    budget = run_budget or loaded.run_budget
    refuse_small(loaded, budget, False)
    path = Path(folder).expanduser()
    project = Project.create(path, loaded, budget, title or path.name, workers=workers_of(None, 1))
    out.thing({"folder": folder, "project": project.project_id, "task": loaded.name, "main": project.chain.head})
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
    max_pairs_a_day: Annotated[
        int, rare("Pairs of trainings that verification may use a day (UTC).", min=0, default=1000)
    ],
) -> None:
    """Serve a project and verify the volunteers' proposals. Accepted proposals survive a
    kill; the same command resumes.

    METALOOP_EXECUTOR=ray verifies on the nodes of a Ray cluster (docs/cluster.md).

    --void revokes a block (an accepted proposal): a new commit restores the version of main
    before it, and the proposals of all later blocks are verified again. If another process
    serves the project, that one does it, and this command returns."""
    from arena.home import server  # uvicorn

    require_chosen()
    path = Path(folder).expanduser()
    project = Project.open(path)
    if void is not None:
        request_void(project, void, because.strip())
        if is_taken(path):
            out.thing({"block": void, "state": "being taken back by the process that serves"})
            return
    elif because:
        raise UsageError("--because is the reason of --void", hint="--void BLOCK")
    project.database.set_fact("limits", max_pairs_a_day=max_pairs_a_day)

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        out.note("Ctrl-C stops it; the same command resumes it")

    server.serve(path, host, port, out.note, started, proxy)


def request_void(project: Project, block: int, because: str) -> None:
    """Record the request, which the process that verifies carries out. Raises NotFound or UsageError."""
    name, blocks = resolve.typed(project.folder), project.chain.blocks()
    if not because:
        raise UsageError("a reason is missing", hint="--because TEXT")
    if not 0 < block < len(blocks) or not blocks[block].merge:
        raise NotFound(f"{name} has no block {block} that can be void", hint=f"metaloop status {name}")
    if blocks[block].void:
        raise UsageError(f"block {block} is void already: {blocks[block].void}")
    if project.database.fact("void").get("block", block) != block:
        raise UsageError("another block is being taken back", hint="try again in a moment")
    project.database.set_fact("void", block=block, because=because)


def show(out: Output, folder: Path) -> None:
    """``metaloop status`` of a project: its blocks, each with its gain over the block before it."""
    state = state_of(Project.open(folder))
    if out.mode == "json":
        out.thing(asdict(state))
        return
    views.show(out, [asdict(block) for block in state.blocks], BLOCKS)
    facts: dict[str, Any] = {"gain": f"in {state.unit}", "volunteers": state.volunteers}
    out.thing({**facts, "proposals": state.counts, "verification": duration(state.verified_seconds)})


@verb(
    ("metaloop home join https://HOST", "one run after the other, until Ctrl-C"),
    ("metaloop home join https://HOST -p my/program.md -m NAME", "a model follows your program"),
    ("metaloop home join https://HOST --runs 3 -y", "three runs, without a question"),
)
def join(
    out: Output,
    url: Annotated[str, argument(metavar="URL")],
    name: Annotated[str, flag("Your name on the project's page.", metavar="NAME", default="")],
    program: Annotated[str, flag("The program of your runs.", "-p", metavar="NAME|FILE", default="stock")],
    folder: Annotated[str, rare("Folder for your token and your runs.", default="metaloop-home")],
    runs: Annotated[int | None, flag("Stop after this many runs  [default: no limit].", min=1)],
    run_budget: RunBudgetFlag,
    devices: Annotated[str | None, flag("The GPUs that may be used, by number.", metavar="N,…")],
    max_gb: Annotated[float, rare("GB of memory that a training may take.", min=0.1, default=4.0)],
    yes: YesFlag,
    models: ModelFlags,
) -> None:
    """Search for improvements for a project: runs that start from main, each an ordinary study on
    this machine. What a run finds is proposed to the host. The task and the scripts run here, in a
    sandbox without network that sees none of your files. Ctrl-C stops it; the same command resumes.
    The URL is https, or http on this machine, such as the end of an ssh tunnel.
    With --model, or -r command:NAME, your model or agent follows the program; spending
    limits apply to each run."""
    researcher, config = parse_models(models)
    require_able(researcher, config, yes=yes)
    path = Path(folder).expanduser().absolute()
    client, gpus = HostClient(url), resolve.listed(devices)
    os.environ.setdefault("METALOOP_CACHE", str(path / "cache"))  # all that is written lies in the folder
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    text = resolve.one_program(program)
    search = LocalSearch(text, researcher, settled(config), run_budget, max(1, len(gpus)), max_gb)
    session = VolunteerSession(client, private_folder(path), name, search, out.note)
    task, count = session.preview(), 0
    refuse_inert([text], [task], researcher)
    if session.joined is None:
        agree(out, url, path, task, session.budget or task.run_budget, yes)
    about = session.join()
    out.note(f"joined {about.title}: task {about.task.name}, main is at block {about.block}")
    try:
        while runs is None or count < runs:
            session.step()
            count += 1
    except (KeyboardInterrupt, CapReached):
        out.note(f"stopped; the unfinished run is kept in {resolve.shown(path)}, and the same command continues it")
    out.thing({"project": about.project, "runs": count, "folder": folder})


def agree(out: Output, url: str, folder: Path, task: Task, run_budget: float, yes: bool) -> None:
    """Show what will run here, and ask. Raises UsageError without a terminal and --yes."""
    data = "data.py of the task and " if task.has_data else ""
    for line in (
        f"{url} asks this machine to search for a better {', '.join(task.editable)} of the task {task.name}.",
        f"what runs: {data}versions of {', '.join(task.editable)}, also with code that other volunteers wrote, each "
        f"about {task.cost_seconds:.3g} s with at most {task.memory_mb / 1024:.3g} GB of memory",
        f"how long: runs of {duration(run_budget)} of device time each (-b sets it), until Ctrl-C or --runs N",
        f"where: in a sandbox without network, which sees a folder below {resolve.shown(folder)} and no other file",
        "what is sent: your --name, and of each run that found a gain the files that changed, the gain and its error",
        "what is never sent: your files, your program, your environment, keys of language models",
        f"how to stop: Ctrl-C; then delete {resolve.shown(folder)}, which holds all that was written",
    ):
        out.note(line)
    if not yes:
        ask("join?", "there is no terminal to agree in", "read the lines above, then add --yes")


@verb(
    ("metaloop home audit main", "after git clone https://HOST/main.git main"),
    ("metaloop home audit main --blocks 0", "without training"),
)
def audit(
    out: Output,
    folder: ProjectFolder,
    task: Annotated[str | None, flag("The task of main  [default: that of block 0].", "-t", metavar="NAME|DIR")],
    blocks: Annotated[int, flag("Number of blocks to train again; 0: none.", min=0, default=3)],
    seeds: Annotated[int, flag("Fresh seeds for a block, and for the one before it.", min=2, max=100, default=6)],
    workers: Annotated[int | None, flag("Trainings at a time  [default: all cores].", min=1)],
) -> int:
    """Check a clone of main, the project's repository. Checks git's hashes, computes the test of each
    block (an accepted proposal) again from its recorded differences, and trains some blocks
    again on fresh seeds and data."""
    path = Path(folder).expanduser()
    path = path / "main.git" if (path / "main.git").exists() else path
    if not (path / ".git").exists() and not (path / "objects").is_dir():
        raise NotFound(f"{folder} is no git repository", hint="git clone https://HOST/main.git main")
    with Chain.borrowed(path) as chain:
        loaded = task_of(chain, task)
        wrong = list(problems(chain, loaded))
        for line in wrong:
            out.note(f"WRONG: {line}")
        streams = Streams.fresh()
        how = How(streams, workers_of(workers, 1))
        audited = []
        if blocks and not wrong:
            sandbox.require(loaded, True)
            drawn = random.Random(streams.seed("search", "audit"))
            audited = retrain(chain, loaded, how, blocks, seeds, out.note, drawn)
        views.show(out, [asdict(row) for row in audited], AUDITED)
        bad = len(wrong) + sum(row.verdict == "contradicted" or row.verdict.startswith("failed") for row in audited)
        out.note(f"{len(chain.commits()) - 1} blocks checked, {len(audited)} trained again, {bad} problems")
    return 1 if bad else 0


def task_of(chain: Chain, task: str | None) -> Task:
    """The task of main: the one of this name or folder, else the built-in one that block 0 names. Raises UsageError."""
    stated = chain.message(chain.commits()[0]).partition("the baseline of ")[2].strip() if chain.commits() else ""
    if not task and stated not in builtin_tasks():
        message = f"main is of a task that is not part of metaloop: {one_line(stated)[:80] or 'unnamed'}"
        raise UsageError(message, hint="name it, if you trust its code: -t DIR")
    return load_task(task or stated)


for command in (init, serve, join, audit):
    home.add_command(command)
