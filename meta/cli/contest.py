"""``metaloop contest``: ls, init, serve, join, submit, status, close, export; what else a host does is beside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import contest_staff, launch, resolve
from meta.cli.contest_close import close
from meta.cli.contest_entrant import join, submit
from meta.cli.contest_hosting import answer, disputes, unvoid, void
from meta.cli.contest_staff import caps
from meta.cli.contest_status import status
from meta.cli.flags import ContestFolder, ModelFlags, PlayingFlags, RunBudgetFlag, YesFlag
from meta.cli.options import flag, noun, only, parse_duration, verb, without
from meta.cli.output import Column, Output
from meta.cli.staffing import AgentFlags
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.contest.create import ContestOptions

CONTESTS = (
    Column("folder", style="bold", flex=True),
    Column("title", flex=True),
    Column("task"),
    Column("phase"),
    Column("closes"),
)
PORT = 8321


@noun(
    ("metaloop contest init my-contest --closes 7d", "1: found one on strokes; prints your tokens"),
    ("metaloop contest serve my-contest", "2: host it on http://127.0.0.1:8321"),
    ("metaloop contest close my-contest", "3: run the leaders again, and announce"),
)
def contest() -> None:
    """Contests of programs: hosted on the web, decided on seeds nobody has seen."""


@verb(
    ("metaloop contest ls", "the contests in this folder and under studies/"),
    ("metaloop contest ls --json", "for a script"),
    name="ls",
)
def ls(out: Output) -> None:
    """List the contests in this folder and under studies/."""
    from arena.contest.contest import Contest
    from arena.contest.settings import MARK, shown
    from programs.errors import MetaloopError

    rows = []
    for place in sorted({*Path().glob(f"*/{MARK}"), *Path().glob(f"{resolve.STUDIES}/*/{MARK}")}):
        try:
            found = Contest.open(place.parent)
            phase = found.phase()
        except MetaloopError as error:
            out.warn(f"{place.parent}: {error.message}")
            continue
        rows.append({
            "folder": str(place.parent), "title": found.config.title, "task": Path(found.config.task).name,
            "phase": phase, "closes": shown(found.config.closes),
        })  # fmt: skip
    out.rows(rows, CONTESTS, empty="no contest here: metaloop contest init DIR")


@dataclass(frozen=True)
class ContestFlags:
    """What the host of a new contest says of it."""

    title: Annotated[str | None, flag("What the pages call it  [default: the folder's name].", metavar="TEXT")]
    task: Annotated[
        str | None, flag("The task, or several that count alike  [default: strokes].", "-t", metavar="NAME|DIR,…")
    ]
    run_budget: RunBudgetFlag
    hidden: Annotated[
        str | None, flag("Tasks for the leaders after the decision, secret until then.", metavar="TASK,…")
    ]
    runs: Annotated[int, flag("Runs of each entry.", "-n", min=2, default=4)]
    confirm_runs: Annotated[int | None, flag("Fresh runs of each leader  [default: 3 x --runs].", min=2)]
    opens: Annotated[str | None, flag("2026-12-01T09:00 (UTC), or 2h from now  [default: now].", metavar="TIME")]
    closes: Annotated[str, flag("A time, or so long after --opens.", metavar="TIME", default="7d")]
    entries_per_person: Annotated[int, flag("Entries each.", min=1, default=3)]
    sealed: Annotated[bool, flag("Only hashes of entries are public until the decision.")]
    open_join: Annotated[bool, flag("Anybody may join, without the code.")]
    models: Annotated[ModelFlags, without("record", "replay")]
    agent: AgentFlags
    yes: YesFlag
    playing: Annotated[PlayingFlags, only("workers", "devices_per_run", "fixed_steps", "unsafe_no_sandbox")]


@verb(
    ("metaloop contest init my-contest --closes 7d", "on strokes, open now, for a week"),
    ("metaloop contest init c2 -t tinylm -b 2m -n 6 --sealed", "2 minutes a run, 6 runs, texts sealed"),
    ("metaloop contest init c3 -t strokes,tinylm", "4 runs on each of two tasks, ranked over both"),
)
def init(out: Output, folder: ContestFolder, flags: ContestFlags) -> None:
    """Found a contest: a folder that is a study too, with rules whose hash is fixed
    and the hash of the secret that every seed comes from. Prints the host's token
    and the code to join with, this once."""

    from arena.contest.create import create_contest

    wishes = wishes_of(folder, flags)
    made = create_contest(Path(folder).expanduser(), wishes)
    config = made.contest.config
    told = {
        "folder": folder, "contest_id": config.contest_id, "title": config.title, "task": config.task,
        "further": config.further, "opens": config.opens, "closes": config.closes, "rules_hash": config.rules_hash,
        "secret_hash": config.secret_hash, "admin_token": made.admin_token, "join_code": made.join_code,
    }  # fmt: skip
    if not config.further and out.mode != "json":
        del told["further"]
    out.thing(told)
    out.note("join_code goes to the entrants; admin_token is yours alone, for the page /host. Both are told this once.")
    out.note("rules_hash: anybody can check with it that the rules were not edited; secret_hash: that the seeds were")
    out.note("drawn before the opening, once the secret is told at the decision. Publish both where you announce it.")
    out.note(f"next: metaloop contest serve {resolve.typed(Path(folder))}")


def wishes_of(folder: str, flags: ContestFlags) -> ContestOptions:
    """The flags of init, checked against the task and this machine."""
    from arena import sandbox
    from arena.contest.create import ContestOptions

    choice = contest_staff.researcher_choice_of(flags.models, flags.agent, flags.yes)
    task, *further = launch.load_tasks(flags.task) or [launch.load_task(None)]
    budget = flags.run_budget or task.run_budget
    launch.refuse_small(task, budget, flags.playing.fixed_steps)
    hidden = launch.load_tasks(flags.hidden)
    for each in (task, *further, *hidden):
        sandbox.require(each, not flags.playing.unsafe_no_sandbox)
    opens = moment(flags.opens, datetime.now(UTC), "--opens")
    devices = flags.playing.devices_per_run or 1
    return ContestOptions(
        title=flags.title or Path(folder).name, task=task, opens=opens,
        closes=moment(flags.closes, opens, "--closes"), run_budget=budget, runs=flags.runs,
        confirm_runs=flags.confirm_runs or 3 * flags.runs, entries_per_person=flags.entries_per_person,
        sealed=flags.sealed, join_open=flags.open_join,
        workers=launch.workers_of(flags.playing.workers, devices), devices=devices,
        fixed_steps=flags.playing.fixed_steps, sandbox=not flags.playing.unsafe_no_sandbox,
        hidden=tuple(hidden), further=tuple(further), researcher=choice.researcher, models=choice.config,
    )  # fmt: skip


def moment(text: str | None, start: datetime, name: str) -> datetime:
    """A time: ISO 8601, UTC where it names no zone; or so long after ``start``. To the second."""
    if text is None:
        return start.replace(microsecond=0)
    try:
        return (start + timedelta(seconds=parse_duration(text))).replace(microsecond=0)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is no time", hint=f"{name} 2026-12-01T09:00, in UTC, or 7d") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


@verb(
    ("metaloop contest serve my-contest", "on this machine only"),
    ("metaloop contest serve my-contest --host 0.0.0.0 --port 80", "for everybody who can reach it"),
)
def serve(
    out: Output,
    folder: ContestFolder,
    host: Annotated[str, flag("The address to listen on.", default="127.0.0.1")],
    port: Annotated[int, flag("0: any that is free.", min=0, max=65535, default=PORT)],
    _playing: Annotated[PlayingFlags, only("executor", "runs_per_device")],
) -> None:
    """Host a contest: its pages, its API, and the runs of its entries beside them.
    What was accepted survives a kill; the same command goes on."""
    from arena.contest.serve import serve as carry_on

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        out.note("Ctrl-C stops it; the same command goes on")

    carry_on(resolve.contest_folder(folder, out), host, port, out.note, started)


@verb(
    ("metaloop contest export my-contest --to data", "programs, ledger, board, Parquet tables"),
    ("metaloop standings data", "exported after the decision it is a study to look at"),
)
def export(
    out: Output, folder: ContestFolder, to: Annotated[str, flag("A new folder.", metavar="DIR", required=True)]
) -> None:
    """Write every program, ledger and standing of a contest into a folder. Texts that
    are sealed are in it too: hand it on after the decision."""
    from arena.contest.contest import Contest
    from arena.contest.export import export as write

    told = write(Contest.open(resolve.contest_folder(folder, out)), Path(to).expanduser())
    out.thing(told)
    if not told["decided"]:
        out.note("before the decision this folder is no study: study.toml holds the secret. Export again afterwards")


for command in (ls, init, serve, join, submit, status, close, export, void, unvoid, disputes, answer, caps):
    contest.add_command(command)
