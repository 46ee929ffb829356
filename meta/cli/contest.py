"""``metaloop contest``: the group, ``init`` and ``serve``; ``contest_entrant`` and ``contest_host`` have the others."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Annotated

from analysis.knowledge.store import SHIPPED, family_of, query
from analysis.wording import duration, many, share
from arena.contest.create import MOST_ENTRIES, ContestOptions, check_options, create_contest
from arena.contest.plan import NOISE, ClosePlan, plan_close
from arena.serving.clock import shown
from arena.work import sandbox
from arena.work.choice import require_chosen
from inner_loop.models.prices import settled
from inner_loop.run_context import ModelConfig
from meta.cli import resolve
from meta.cli.commands import noun, verb
from meta.cli.contest_entrant import join, status, submit
from meta.cli.contest_host import close, host
from meta.cli.flags import SHARES, ContestFolder, HostFlag, ModelFlags, PlayingFlags, ProxyFlag, RunBudgetFlag, YesFlag
from meta.cli.model_options import parse_models, require_able
from meta.cli.new_study import load_task, workers_of
from meta.cli.options import flag, only, parse_duration, rare
from meta.cli.output import Column, Output, Row
from meta.kinds.cost import refuse_small
from programs.common.errors import UsageError
from programs.common.text import one_line
from programs.shelf import starter
from trainer.commands.check import require_checked
from trainer.rows import pooled_sd

PORT, JOINS = 8321, 60
MOST_CONTACT = 200  # characters
LEAST_REPLIES = 4  # the limit of one run must allow this many replies of maximum length
PLAN = (Column("quantity"), Column("value"), Column("meaning", wrap=True))
CREATED = ("contest_id", "title", "task", "opens", "closes", "rules_hash", "secret_hash")
GAINS = """
WITH gains AS (
    SELECT run_id, program_id, verified_gain AS gain, purpose = 'race' AS raced
    FROM verified_runs() WHERE stream = 'selection'
)
SELECT program_id, list(gain ORDER BY run_id) AS gains
FROM gains WHERE raced OR NOT (SELECT bool_or(raced) FROM gains) GROUP BY program_id
"""


@noun(
    ("metaloop contest init my-contest --closes 7d", "1: create it; prints your token"),
    ("metaloop contest serve my-contest", "2: host it on http://127.0.0.1:8321"),
    ("metaloop contest close my-contest", "3: rerun the leaders, announce the winner"),
)
def contest() -> None:
    """Host a program.md contest on the web, or take part in one. The winner is decided
    on fresh seeds and hidden data."""


@dataclass(frozen=True)
class ContestFlags:
    """The settings of a new contest."""

    title: Annotated[str | None, flag("Title on the pages  [default: the folder's name].", metavar="TEXT")]
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")]
    run_budget: RunBudgetFlag
    runs: Annotated[int, flag("Runs per entry.", "-n", min=2, default=4)]
    confirm_runs: Annotated[
        int | None, rare("Fresh runs per leader at the close  [default: planned].", min=2, max=1000)
    ]
    expect: Annotated[int | None, flag("Entries that you expect  [default: 12 or more].", "--expect-entries", min=2)]
    like: Annotated[str | None, rare("STUDY: plan the close for its noise.", command="contest")]
    opens: Annotated[
        str | None, flag("A time (2026-12-01T09:00, UTC), or 2h from now  [default: now].", metavar="TIME")
    ]
    closes: Annotated[str, flag("A time, or a duration after --opens.", metavar="TIME", default="7d")]
    entries_per_person: Annotated[int, rare("Maximum number of entries per person.", min=1, default=3)]
    most_entries: Annotated[int, rare("Maximum number of entries in all.", min=1, default=MOST_ENTRIES)]
    codes: Annotated[
        int | None, flag("Join codes for one person each  [default: one code for all].", min=1, max=10_000, metavar="N")
    ]
    texts_after_close: Annotated[bool, rare("true: show the texts of entries only after the close.")]
    open_join: Annotated[bool, rare("true: let everyone join without the code.")]
    contact: Annotated[str | None, rare("Your public contact, for objections to an entry.")]
    models: ModelFlags
    yes: YesFlag
    dry_run: Annotated[bool, flag("Print the plan of the close and its cost; write nothing.")]
    playing: Annotated[PlayingFlags, only("workers", "devices_per_run")]


@verb(
    ("metaloop contest init my-contest --closes 7d", "on strokes, open now, for a week"),
    ("metaloop contest init c2 -t tinylm -b 2m -n 6", "2 minutes a run, 6 runs per entry"),
    ("metaloop contest init c3 -t tinylm --dry-run", "what the close can detect, its cost"),
)
def init(out: Output, folder: ContestFolder, flags: ContestFlags) -> None:
    """Create a contest. Its folder contains fixed rules and the secret from which all
    seeds are drawn. Prints the hashes of both and, once only, the host's token and the join
    code."""
    path = Path(folder).expanduser()
    plan = plan_close(noise_of(flags.like, out) if flags.like else NOISE, flags.confirm_runs, flags.expect)
    source = f"measured in {flags.like}" if flags.like else "a guess; --set like=STUDY measures it"
    options = options_of(path, flags, plan.runs)
    if flags.dry_run:
        check_options(path, options)
        show_plan(out, plan, source, options, flags.expect)
        out.json_only({**asdict(plan), "run_seconds": options.run_seconds, "source": source})
        out.note("nothing was written: leave --dry-run out to create the contest")
        return
    require_checked(options.task, options.sandbox, out.note)
    new = create_contest(path, options)
    show_plan(out, plan, source, options, flags.expect)
    created = {"folder": folder, **{name: getattr(new.contest.config, name) for name in CREATED}}
    created["host_token"] = new.admin_token
    created["join_codes" if new.join_codes else "join_code"] = new.join_codes or new.join_code
    if out.mode == "json":
        created["plan"] = {**asdict(plan), "source": source}
    out.thing(created)
    out.note("Save host_token, which is yours, and what entrants join with; both are shown only this once.")
    out.note(
        "Publish rules_hash and secret_hash: they prove that rules and seeds were fixed before the contest opened."
    )
    out.next(f"metaloop contest serve {resolve.typed(path)}")


def show_plan(out: Output, plan: ClosePlan, source: str, options: ContestOptions, expected: int | None) -> None:
    """Print the plan as a table, and warnings of what it cannot do."""
    if out.mode != "json":
        out.rows(plan_rows(plan, source, options, expected), PLAN)
    if warning := plan.warning(expected):
        out.warn(warning)
    if family_of(options.task) in [row["family"] for row in query([SHIPPED], "SELECT DISTINCT family FROM effects")]:
        out.note(
            "the output of `metaloop program new learnt.md --learnt shipped` may win on this task as it is: give it "
            'to all entrants as the program to beat, or choose another task ("Choosing the task" in docs/contest.md)'
        )


def plan_rows(plan: ClosePlan, source: str, options: ContestOptions, expected: int | None) -> list[Row]:
    """What is planned, and what a run, an entry and the close cost, in device time and by the clock."""
    entry, workers = options.runs * options.run_seconds, options.workers
    usual, most = plan.seconds(options.run_seconds)
    open_for = (options.closes - options.opens).total_seconds()
    entries = float(f"{open_for * workers / entry:.2g}")
    experiment, runs = duration(options.task.cost_seconds), many(options.runs, "run")
    by_clock = f"by the clock with {many(workers, 'worker')} on an idle machine"
    leaders = f"at most, of each of {many(plan.leaders, 'leader')} at the close"
    if not expected:
        leaders += f"; --expect-entries N plans for fewer than {plan.leaders}"
    rows = (
        ("opens", shown(options.opens), f"at most {many(options.entries_per_person, 'entry')} per person"),
        ("closes", shown(options.closes), f"after {duration(open_for)}"),
        ("run", duration(options.run_budget), f"device time; an experiment takes {experiment}"),
        ("entry", duration(entry), f"device time of its {runs}, measurement included"),
        ("entries", f"{entries:.0f}", f"finished before it closes, {by_clock}; stock's two are among them"),
        ("fresh runs", str(plan.runs), leaders),
        ("power", share(plan.power), f"of simulated closes name an entry with {plan.ratio:g} times the others' gain"),
        ("noise", share(plan.noise), f"SD of an entry's runs, as a share of its average gain ({source})"),
        ("device time", duration(usual), f"median of these closes; at most {duration(most)}"),
        ("close", duration(usual / workers), f"{by_clock}; at most {duration(most / workers)}"),
    )
    return [dict(zip(("quantity", "value", "meaning"), row, strict=True)) for row in rows]


def noise_of(study: str, out: Output) -> float:
    """The SD between runs of a program, pooled over the programs that a study raced first, over stock's mean gain."""
    gains = {row["program_id"]: row["gains"] for row in resolve.ask(resolve.study_folder(study, out), GAINS)}
    spread = pooled_sd(gains.values())
    if spread is None:
        raise UsageError(f"the noise of {study} is unknown: no program has two runs", hint="name a study with a race")
    means = {program_id: fmean(values) for program_id, values in gains.items()}
    stock = means.get(starter("stock").program_id, fmean(means.values()))
    if stock <= 0:
        raise UsageError(f"stock gains nothing in {study}", hint="name a study in which it gains, or leave it out")
    return spread[0] / stock


def options_of(folder: Path, flags: ContestFlags, confirm_runs: int) -> ContestOptions:
    """The options of a new contest, checked against its task and this machine."""
    if flags.codes and flags.open_join:
        raise UsageError("--codes and --set open_join=true exclude each other", hint="leave one of them out")
    researcher, model_config = models_of(flags.models, flags.yes)
    task = load_task(flags.task)
    budget = flags.run_budget or task.run_budget
    refuse_small(task, budget, fixed_steps=False)
    sandbox.require(task, sandboxed=True)
    opens = moment(flags.opens or "", datetime.now(UTC), "--opens")
    devices = flags.playing.devices_per_run or 1
    contact = one_line(flags.contact or "").strip()
    if len(contact) > MOST_CONTACT:
        raise UsageError(f"--set contact has more than {MOST_CONTACT} characters", hint="an address is enough")
    return ContestOptions(
        title=flags.title or folder.name, task=task, opens=opens, closes=moment(flags.closes, opens, "--closes"),
        run_budget=budget, runs=flags.runs, confirm_runs=confirm_runs, entries_per_person=flags.entries_per_person,
        most_entries=flags.most_entries, join_codes=flags.codes or 0,
        texts_after_close=flags.texts_after_close, join_open=flags.open_join,
        workers=workers_of(flags.playing.workers, devices), devices=devices,
        fixed_steps=False, sandbox=True,  # a step's price is the same whatever it trains: docs/threat-model.md
        researcher=researcher, models=model_config, contact=contact,
    )  # fmt: skip


def moment(text: str, start: datetime, name: str) -> datetime:
    """A time in ISO 8601 (UTC where it names no zone), or a duration after ``start``, which is the time of an empty
    text; rounded down to the second."""
    try:
        time = start + timedelta(seconds=parse_duration(text)) if text else start
    except ValueError:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{name} {text!r} is not a time", hint=f"{name} 2026-12-01T09:00 (UTC), or 7d") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def models_of(flags: ModelFlags, yes: bool) -> tuple[str, ModelConfig]:
    """The researcher of a contest and its models, checked. Raises UsageError where calls may cost money without a
    limit."""
    researcher, config = parse_models(flags)
    config = with_shares(settled(config))
    if researcher != "scripted" and not (config.caps() or config.agent_direct):
        raise UsageError(
            f"--researcher {researcher}: entries call models, so the contest needs a spending limit",
            hint="--max-usd 20, or --set max_tokens=20000000 for a model without a price",
        )
    require_able(researcher, config, yes=yes)
    return researcher, config


def with_shares(config: ModelConfig) -> ModelConfig:
    """Set the spending limit of one run: as given, else a share of the whole, so that no entry spends it all."""
    usd = config.run_usd or (config.max_usd / SHARES if config.max_usd else None)
    least = LEAST_REPLIES * config.reply_tokens
    tokens = config.run_tokens
    if tokens is None and config.max_tokens:
        tokens = min(config.max_tokens, max(math.ceil(config.max_tokens / SHARES), least))
    if tokens and tokens < least:
        raise UsageError(
            f"{tokens} tokens per run are fewer than {LEAST_REPLIES} replies of {config.reply_tokens}",
            hint=f"--set run_tokens={least} or more, or a smaller reply_tokens",
        )
    for name, spent, whole in (("usd", usd, config.max_usd), ("tokens", tokens, config.max_tokens)):
        if spent and whole and spent > whole:
            raise UsageError(f"run_{name} {spent:g} is more than max_{name} {whole:g}", hint=f"lower --set run_{name}")
    return config.model_copy(update={"run_usd": usd, "run_tokens": tokens})


@verb(
    ("metaloop contest serve my-contest", "on this machine only"),
    ("metaloop contest serve my-contest --host 0.0.0.0 --port 80", "reachable from other machines"),
)
def serve(
    out: Output,
    folder: ContestFolder,
    host: HostFlag,
    port: Annotated[int, flag("Port to listen on; 0 picks a free one.", min=0, max=65535, default=PORT)],
    proxy: ProxyFlag,
    joins: Annotated[int, rare("Maximum number of people who join from one address per minute.", min=1, default=JOINS)],
) -> None:
    """Serve the pages and the API of a contest, and run its entries. Accepted entries
    survive a kill; the same command resumes."""
    from arena.contest.running import serve as server  # uvicorn

    require_chosen()

    def started(url: str) -> None:
        out.thing({"url": url, "folder": folder})
        if unsafe := server.warning(host, proxy):
            out.warn(unsafe)
        out.note("Ctrl-C stops it; the same command resumes it")

    server.serve(resolve.contest_folder(folder, out), host, port, out.note, started, proxy, joins)


for command in (init, serve, join, submit, status, close, host):
    contest.add_command(command)
