"""``metaloop contest``: ls, init, serve, export; the other subcommands are in ``contest_*.py``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from analysis.wording import duration, listed, many
from meta.cli import contest_staff, launch, resolve
from meta.cli.contest_close import close
from meta.cli.contest_entrant import join, submit
from meta.cli.contest_hosting import forget, unvoid, void
from meta.cli.contest_staff import caps
from meta.cli.contest_status import status
from meta.cli.flags import ContestFolder, ModelFlags, PlayingFlags, ProxyFlag, RunBudgetFlag, YesFlag
from meta.cli.options import flag, noun, only, parse_duration, verb
from meta.cli.output import Column, Output
from programs.errors import UsageError
from programs.text import one_line

if TYPE_CHECKING:
    from arena.contest.create import ContestOptions
    from arena.contest.plan import ClosePlan
    from trainer.task import Task

CONTESTS = (
    Column("folder", style="bold", wrap=True),
    Column("title", wrap=True),
    Column("task"),
    Column("phase"),
    Column("closes"),
)
PORT, JOINS = 8321, 60
MOST_CONTACT = 200  # characters
GAINS = """
SELECT r.program_id, r.verified_gain AS gain, m.purpose FROM runs AS r JOIN matches AS m USING (match_id)
WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL AND m.stream = 'selection' ORDER BY r.run_id
"""


@noun(
    ("metaloop contest init my-contest --closes 7d", "1: create it; prints your token"),
    ("metaloop contest serve my-contest", "2: host it on http://127.0.0.1:8321"),
    ("metaloop contest close my-contest", "3: rerun the leaders, announce the winner"),
)
def contest() -> None:
    """Host a program.md contest on the web, or take part in one. The winner is decided
    on fresh seeds and hidden data."""


@verb(
    ("metaloop contest ls", "the contests in this folder and under studies/"),
    ("metaloop contest ls --json", "for a script"),
    name="ls",
)
def ls(out: Output) -> None:
    """List the contests in this folder and under studies/."""
    from arena.contest.contest import Contest
    from arena.contest.settings import MARK, is_export, shown
    from programs.errors import MetaloopError

    rows, exports = [], []
    for mark in sorted({*Path().glob(f"*/{MARK}"), *Path().glob(f"{resolve.STUDIES}/*/{MARK}")}):
        if is_export(mark.parent):
            exports.append(str(mark.parent))
            continue
        try:
            opened = Contest.open(mark.parent)
            phase = opened.phase()
        except MetaloopError as error:
            out.warn(f"{mark.parent}: {error.message}")
            continue
        rows.append(
            {
                "folder": str(mark.parent),
                "title": opened.config.title,
                "task": Path(opened.config.task).name,
                "phase": phase,
                "closes": shown(opened.closed_at()),
            }
        )
    out.rows(rows, CONTESTS, empty="no contest here; create one: metaloop contest init DIR")
    if exports:
        out.note(f"not listed: {many(len(exports), 'export')} of contests ({listed(exports)})")


@dataclass(frozen=True)
class ContestFlags:
    """The settings of a new contest."""

    title: Annotated[str | None, flag("Title on the pages  [default: the folder's name].", metavar="TEXT")]
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")]
    run_budget: RunBudgetFlag
    runs: Annotated[int, flag("Runs per entry.", "-n", min=2, default=4)]
    confirm_runs: Annotated[
        int | None,
        flag(
            "Maximum number of fresh runs per leader at the close  [default: the number in the plan that init prints].",
            min=2,
            max=1000,
        ),
    ]
    expect: Annotated[
        int | None, flag("Number of entries that you expect in all  [default: 12 or more].", "--expect-entries", min=2)
    ]
    like: Annotated[
        str | None, flag("Plan the runs at the close for the noise in this study.", metavar="STUDY", command="contest")
    ]
    opens: Annotated[
        str | None, flag("A time such as 2026-12-01T09:00 (UTC), or 2h from now  [default: now].", metavar="TIME")
    ]
    closes: Annotated[str, flag("A time, or a duration after --opens.", metavar="TIME", default="7d")]
    entries_per_person: Annotated[int, flag("Maximum number of entries per person.", min=1, default=3)]
    texts_after_close: Annotated[bool, flag("Show the texts of entries only once the contest is closed for entries.")]
    open_join: Annotated[bool, flag("Let everyone join without the code.")]
    contact: Annotated[str | None, flag("Your public contact, for objections to an entry.", metavar="TEXT")]
    models: ModelFlags
    yes: YesFlag
    dry_run: Annotated[bool, flag("Print the plan of the close and its cost; write nothing.")]
    playing: Annotated[PlayingFlags, only("workers", "devices_per_run", "fixed_steps")]


@verb(
    ("metaloop contest init my-contest --closes 7d", "on strokes, open now, for a week"),
    ("metaloop contest init c2 -t tinylm -b 2m -n 6", "2 minutes a run, 6 runs per entry"),
    ("metaloop contest init c3 -t tinylm --dry-run", "what the close can detect, its cost"),
)
def init(out: Output, folder: ContestFolder, flags: ContestFlags) -> None:
    """Create a contest. Its folder contains fixed rules and the secret from which all
    seeds are drawn. Prints the hashes of both and, once only, the host's token and the join
    code."""

    from arena.contest.create import check_options, create_contest

    plan, source = close_plan(out, flags)
    wishes = wishes_of(folder, flags, plan.runs)
    if flags.dry_run:
        check_options(Path(folder).expanduser(), wishes)
        say_plan(out, plan, source, wishes, flags.expect)
        if out.mode != "person":
            out.thing(asdict(plan) | {"run_seconds": wishes.run_seconds, "source": source})
        out.note("nothing was written: leave --dry-run out to create the contest")
        return
    launch.require_checked(out, wishes.task, wishes.sandbox)
    made = create_contest(Path(folder).expanduser(), wishes)
    config = made.contest.config
    created = {
        "folder": folder,
        "contest_id": config.contest_id,
        "title": config.title,
        "task": config.task,
        "opens": config.opens,
        "closes": config.closes,
        "rules_hash": config.rules_hash,
        "secret_hash": config.secret_hash,
        "host_token": made.admin_token,
        "join_code": made.join_code,
        "plan": asdict(plan) | {"source": source},
    }
    if wishes.join_open and out.mode != "json":
        del created["join_code"]
    if out.mode != "json":
        del created["plan"]
    say_plan(out, plan, source, wishes, flags.expect)
    out.thing(created)
    if wishes.join_open:
        out.note(
            "Save host_token now: it is not shown again. It is yours, for /host. Everyone can join without a code."
        )
    else:
        out.note(
            "Save host_token and join_code now: they are not shown again. Entrants need join_code; host_token is "
            "yours, for /host."
        )
    out.note(
        "Publish rules_hash and secret_hash with the announcement. They prove that the rules did not change, and, when "
        "the secret is published with the decision, that the seeds were fixed before the contest opened."
    )
    out.note(f"next: metaloop contest serve {resolve.typed(Path(folder))}")


def say_plan(out: Output, plan: ClosePlan, source: str, wishes: ContestOptions, expected: int | None) -> None:
    """What is planned, and what a run, an entry and the close cost, in device time and by the clock."""
    from arena.contest.settings import shown

    each, workers = wishes.runs * wishes.run_seconds, many(wishes.workers, "worker")
    out.note(
        f"{wishes.title}: opens {shown(wishes.opens)}, closes {shown(wishes.closes)}; {many(wishes.runs, 'run')} per "
        f"entry; at most {many(wishes.entries_per_person, 'entry')} per person"
    )
    out.note(
        f"budget of a run: {duration(wishes.run_budget)} of device time on {wishes.task.name}, "
        f"{duration(wishes.task.cost_seconds)} an experiment; the {many(wishes.runs, 'run')} of an entry "
        f"take {duration(each)} with their measurement, about {duration(each / wishes.workers)} by the clock with "
        f"{workers}"
    )
    open_for = (wishes.closes - wishes.opens).total_seconds()
    entries = int(float(f"{open_for * wishes.workers / each:.2g}"))
    out.note(
        f"in the {duration(open_for)} until it closes, {workers} on an idle machine can finish about "
        f"{many(entries, 'entry')} ({many(entries * wishes.runs, 'run')}), stock's two included; further "
        "entries run after the close"
    )
    size = "" if expected else f". For fewer than {plan.leaders} entries, --expect-entries N plans a shorter close"
    out.note(f"the close: {plan.sentence(source, wishes.run_seconds, wishes.workers)}{size}")
    usual, most = (open_for + seconds / wishes.workers for seconds in plan.seconds(wishes.run_seconds))
    out.note(
        f"in all about {duration(usual)}, at most {duration(most)}, if the machine is idle and all entries have run by "
        "the closing time"
    )
    if low := plan.warning(expected):
        out.warn(low)
    if known := measured_family(wishes.task):
        out.note(
            f"the knowledge that comes with Metaloop was measured on {known}, so the output of `metaloop "
            "knowledge ideas` may win as it is: give it to all entrants as the program to beat, or choose a task of "
            'your own ("Choosing the task" in docs/contest.md)'
        )


def measured_family(task: Task) -> str:
    """The family of the task if the knowledge that comes with Metaloop was measured on it, in words; else empty."""
    from analysis.knowledge import SHIPPED, family_of, query

    sizes = query([SHIPPED], "SELECT family, count(DISTINCT task) AS tasks FROM effects GROUP BY ALL")
    of = {row["family"]: row["tasks"] for row in sizes}
    family = family_of(task)
    return f"{of[family]} tasks of the family {family}" if family in of else ""


def close_plan(out: Output, flags: ContestFlags) -> tuple[ClosePlan, str]:
    """The runs of the close, and where the noise that they are planned for comes from."""
    from arena.contest.plan import NOISE, plan_close

    if flags.like is None:
        return plan_close(NOISE, flags.confirm_runs, flags.expect), "a guess; --like STUDY measures it in a study"
    return plan_close(noise_of(flags.like, out), flags.confirm_runs, flags.expect), f"measured in {flags.like}"


def noise_of(study: str, out: Output) -> float:
    """The SD between runs of a program, pooled over the programs that a study raced first, over stock's mean gain."""
    from programs.shelf import starter

    with resolve.connect(resolve.study_folder(study, out), []) as con:
        rows = resolve.fetch(con, GAINS)
    gains: dict[str, list[float]] = {}
    for row in [row for row in rows if row["purpose"] == "race"] or rows:
        gains.setdefault(row["program_id"], []).append(row["gain"])
    df = sum(len(values) - 1 for values in gains.values())
    if df == 0:
        raise UsageError(f"the noise of {study} is unknown: no program has two runs", hint="name a study with a race")
    squares = sum((x - fmean(values)) ** 2 for values in gains.values() for x in values)
    stock = fmean(gains.get(starter("stock").program_id) or map(fmean, gains.values()))
    if stock <= 0:
        raise UsageError(
            f"stock gains nothing in {study}", hint="name a study in which stock gains, or leave --like out"
        )
    return math.sqrt(squares / df) / stock


def wishes_of(folder: str, flags: ContestFlags, confirm_runs: int) -> ContestOptions:
    """The options of a new contest, checked against its task and this machine."""
    from arena import sandbox
    from arena.contest.create import ContestOptions

    models = contest_staff.researcher_choice_of(flags.models, flags.yes)
    task = launch.load_task(flags.task)
    budget = flags.run_budget or task.run_budget
    launch.refuse_small(task, budget, flags.playing.fixed_steps)
    sandbox.require(task, sandboxed=True)
    opens = moment(flags.opens, datetime.now(UTC), "--opens")
    devices = flags.playing.devices_per_run or 1
    return ContestOptions(
        title=flags.title or Path(folder).name, task=task, opens=opens,
        closes=moment(flags.closes, opens, "--closes"), run_budget=budget, runs=flags.runs,
        confirm_runs=confirm_runs, entries_per_person=flags.entries_per_person,
        texts_after_close=flags.texts_after_close, join_open=flags.open_join,
        workers=launch.workers_of(flags.playing.workers, devices), devices=devices,
        fixed_steps=flags.playing.fixed_steps, sandbox=True,
        researcher=models.researcher, models=models.config,
        contact=contact_of(flags.contact),
    )  # fmt: skip


def contact_of(text: str | None) -> str:
    """The host's public contact in one line."""
    contact = one_line(text or "").strip()
    if len(contact) > MOST_CONTACT:
        raise UsageError(f"--contact has more than {MOST_CONTACT} characters", hint="an address is enough")
    return contact


def moment(text: str | None, start: datetime, name: str) -> datetime:
    """A time in ISO 8601 (UTC where it names no zone), or a duration after ``start``; rounded down to the second."""
    if text is None:
        return start.replace(microsecond=0)
    try:
        return (start + timedelta(seconds=parse_duration(text))).replace(microsecond=0)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is not a time", hint=f"{name} 2026-12-01T09:00 (UTC), or 7d") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


@verb(
    ("metaloop contest serve my-contest", "on this machine only"),
    ("metaloop contest serve my-contest --host 0.0.0.0 --port 80", "reachable from other machines"),
)
def serve(
    out: Output,
    folder: ContestFolder,
    host: Annotated[str, flag("Address to listen on.", default="127.0.0.1")],
    port: Annotated[int, flag("Port to listen on; 0 picks a free one.", min=0, max=65535, default=PORT)],
    proxy: ProxyFlag,
    joins: Annotated[int, flag("Maximum number of people who join from one address per minute.", min=1, default=JOINS)],
    _playing: Annotated[PlayingFlags, only("executor", "runs_per_device")],
) -> None:
    """Serve the pages and the API of a contest, and run its entries. Accepted entries
    survive a kill; the same command resumes."""
    from arena.contest.serve import serve as carry_on
    from arena.contest.serve import warning

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        if unsafe := warning(host, proxy):
            out.warn(unsafe)
        out.note("Ctrl-C stops it; the same command resumes it")

    carry_on(resolve.contest_folder(folder, out), host, port, out.note, started, proxy, joins)


@verb(
    ("metaloop contest export my-contest --to data", "programs, ledger, board, Parquet tables"),
    ("metaloop standings data", "after the decision, the export is a study"),
)
def export(
    out: Output,
    folder: ContestFolder,
    to: Annotated[str, flag("A new folder.", metavar="DIR", required=True, command="contest copy")],
) -> None:
    """Write a contest's programs, ledger and standings into a folder. All texts
    are included, also those that the pages show only after the close."""
    from arena.contest.contest import Contest
    from arena.contest.export import export as write
    from arena.contest.removal import queued, removals

    opened = Contest.open(resolve.contest_folder(folder, out))
    summary = write(opened, Path(to).expanduser())
    out.thing(summary)
    if gone := removals(opened):
        out.note(
            f"of the files in {to}, the ledger has the names of {many(len(gone), 'removed account')}, because each of "
            f"its records contains the hash of the one before. To share the others without these names, delete "
            f"{Path(to) / 'ledger'} from the copy that you share; readers can then not check it with `metaloop verify`"
        )
    if waiting := queued(opened):
        out.note(
            f"{to} has the names of {many(waiting, 'account')} whose removal is queued: export again once it is done"
        )
    if not summary["decided"]:
        out.note("study.toml is left out because it holds the secret; export again after the decision")
        return
    out.note(f"{Path(to) / 'README.md'} says what each file is")
    out.next(f"metaloop verify {resolve.typed(Path(to))}")


@verb(
    ("metaloop contest backup my-contest --to backups/monday", "while it is served, too"),
    ("metaloop contest serve backups/monday", "go on from it, after a disk was lost"),
)
def backup(
    out: Output,
    folder: ContestFolder,
    to: Annotated[str, flag("A new folder.", metavar="DIR", required=True, command="contest copy")],
) -> None:
    """Copy a contest so that it can be continued from the copy. The copy contains the
    secret, like the folder itself: keep it to yourself. Never serve both: their results
    would differ."""
    from arena.contest.backup import backup as write

    target = Path(to).expanduser()
    files = write(resolve.contest_folder(folder, out), target)
    out.thing({"folder": str(target), "files": files})
    out.note(f"to go on from it: metaloop contest serve {resolve.typed(target)}")
    out.note("Never serve both: their results would differ. The copy contains the secret: keep it to yourself.")


HOSTING = (void, unvoid, forget, caps)
for command in (ls, init, serve, join, submit, status, close, export, backup, *HOSTING):
    contest.add_command(command)
