"""``metaloop home join``: a volunteer's machine searches for a project."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import ModelFlags, YesFlag
from meta.cli.options import argument, flag, rare
from meta.cli.output import Output, ask
from meta.cli.training.researcher_choice import ResearcherChoice
from programs.errors import CapReached

if TYPE_CHECKING:
    from trainer.task import Task


@dataclass(frozen=True)
class LimitFlags:
    """What a volunteer grants."""

    runs: Annotated[int | None, flag("Stop after this many runs  [default: no limit].", min=1, metavar="N")]
    devices: Annotated[str, flag("The GPUs that may be used, by number.", metavar="N,…", default="")]
    workers: Annotated[int | None, rare("Simultaneous runs  [default: one for each of --devices].", min=1)]
    hours: Annotated[str, rare("22-07: begin runs only in these hours of the day.", default="")]
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
    from arena.home.volunteer import Limits, LocalResearcher, VolunteerSession

    choice = ResearcherChoice.of(models, yes=limits.yes)
    choice.ready(None)
    path = Path(folder).expanduser().absolute()
    os.environ.setdefault("METALOOP_CACHE", str(path / "cache"))  # all that is written lies in the folder
    follows = LocalResearcher(choice.researcher, choice.settled)
    granted = Limits.of(limits.hours, limits.max_gb)
    session = VolunteerSession(HostClient(url), VolunteerFolder(path), name, granted, out.note, follows)
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
