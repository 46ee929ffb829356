"""``metaloop contest close`` and ``host``, and the public copy of a contest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import click
from click.core import ParameterSource

from analysis.wording import duration, many
from arena.contest.contest import Contest
from arena.contest.entering import acts, removal
from arena.contest.entering.copies import copy_sentence
from arena.contest.export import export
from arena.contest.ranking.standing import snapshot
from arena.contest.running import work
from arena.contest.running.pace import deciding, most_seconds, progress_line
from arena.serving.clock import iso, shown
from inner_loop.models.spend_limiter import SpendLimiter
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.contest_entrant import of_folder, show
from meta.cli.flags import ContestFolder, ModelFlags, YesFlag
from meta.cli.model_options import parse_models
from meta.cli.options import argument, flag, only
from meta.cli.output import Output, ask
from meta.cli.progress import ticker
from programs.common.errors import Busy, UsageError

LOOK_SECONDS, LINE_SECONDS = 0.5, 60.0  # between two looks at another process's work, and two lines about it
ARGUMENT = {"void": "ENTRY", "unvoid": "ENTRY", "forget": "NAME", "caps": ""}
TAKES = {"void": ("person", "because"), "unvoid": ("because",), "forget": (), "caps": ("max_usd", "more")}
OPTIONS = {"person": "--person", "because": "--because", "max_usd": "--max-usd", "more": "--set"}


@verb(
    ("metaloop contest close my-contest", "after the closing time in the rules"),
    ("metaloop contest close my-contest --early 'rain'", "before it; asks for confirmation first"),
)
def close(
    out: Output,
    folder: ContestFolder,
    early: Annotated[str | None, flag("Close before the time in the rules, with a public reason.", metavar="WHY")],
    yes: YesFlag,
) -> None:
    """Close a contest for good and announce the winner. Accepted entries get their
    remaining runs, and the leaders run once more on fresh seeds and data. Then the
    decision and the secret that the hidden data came from are published. Works with or
    without a running `serve`; if it is interrupted, the same command resumes."""
    path = resolve.contest_folder(folder, out)
    contest = Contest.open(path)
    if contest.phase() != "decided":
        for number, earlier in snapshot(contest).copies.items():  # while it can be changed: void entries have no copies
            out.note(f"entry {number} {copy_sentence(earlier)}: it takes no part in the decision")
        request_close(contest, early, yes)
        follow(out, contest)
    if out.mode == "json":
        out.json(contest.announcement())
    else:
        show(out, of_folder(contest), path)


def request_close(contest: Contest, early: str | None, yes: bool) -> None:
    """Record the request; the process that works on the contest carries it out. Raises UsageError if it is early, or
    ``early`` and not confirmed."""
    if contest.phase() in ("upcoming", "open"):
        if not early:
            raise UsageError(
                f"by its rules the contest closes at {shown(contest.config.closes)}",
                hint=f"metaloop contest close {resolve.typed(contest.folder)} --early WHY",
            )
        if not yes:
            ask(
                f"Close {contest.config.title} before its time? No more entries are accepted; this cannot be undone. "
                f"What remains: {remaining(contest)}.",
                "there is no terminal to ask whether to close before the time in the rules",
                "-y closes it",
            )
    if not contest.state().get("close_asked"):
        contest.ask_close(early or "")


def follow(out: Output, contest: Contest) -> None:
    """Do the work in this process, unless another one already does: then wait for it."""
    printed = float("-inf")
    try:
        with ticker(out) as report:
            while contest.phase() != "decided":
                if time.monotonic() - printed > LINE_SECONDS:
                    report(remaining(contest))
                    printed = time.monotonic()
                try:
                    work.carry_on(contest, out.note, count=report)
                except Busy:
                    time.sleep(LOOK_SECONDS)
                    continue
                if (contest.folder / "stop").exists():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        command = f"metaloop contest close {resolve.typed(contest.folder)}"
        out.note(f"a running serve goes on with the close; else it waits. To follow or to resume it: {command}")
        raise


def remaining(contest: Contest) -> str:
    """How far the close is, with an estimate of the time left."""
    if contest.phase() in ("deciding", "decided"):
        return progress_line(deciding(contest)) or "the leaders run again"
    race = f"the leaders run again, at most {duration(most_seconds(contest, len(acts.contenders(contest))))}"
    positions = snapshot(contest).positions
    if not positions:
        return race
    left = duration(max(seconds for _, seconds in positions.values()))
    return f"{many(len(positions), 'entry')} unfinished, about {left}; then {race}"


@verb(
    ("metaloop contest host my-contest void 'Cy 1' --because 'sent twice'", "unvoid undoes it"),
    ("metaloop contest host my-contest caps --max-usd 40", "a waiting queue resumes"),
)
def host(
    out: Output,
    folder: ContestFolder,
    act: Annotated[str, argument(metavar="ACT", type=click.Choice(tuple(ARGUMENT)))],
    target: Annotated[str, argument(metavar="[ARG]", default="")],
    person: Annotated[str, flag("void: all entries of this person, in place of ENTRY.", metavar="NAME", default="")],
    because: Annotated[str, flag("void, unvoid: public reason; it stays on record.", metavar="TEXT", default="")],
    limits: Annotated[ModelFlags, only(*TAKES["caps"])],
    yes: YesFlag,
) -> None:
    """Act as the host of a contest. Works with or without a running `serve`.

    void ENTRY --because TEXT: the entry leaves the queue, the ranking and the decision, and
    does not count against its entrant's quota. A run that has started is finished. A decision
    that was announced stays; the board at the close loses the entry. ENTRY is a name as on
    the leaderboard, or the number or id from an entry's page. void --person NAME: the same
    for all entries of a person, who may then submit as many again: forget stops that.

    unvoid ENTRY: the entry continues where it was. One that the server had given up after
    repeated errors starts again from the beginning.

    forget NAME: remove an entrant's account with name, token and sessions. Entries and
    results stay, under `former entrant N`; until the decision they still run, race and can
    win. An announcement that was made shows the new name.

    caps: show the spending limits of the models, and the spending so far; --max-usd,
    --set max_tokens=… and --set prices=… change them. The limits per run are part of the rules."""
    refuse_other_options(act, target or person)
    contest = Contest.open(resolve.contest_folder(folder, out))
    if act == "caps":
        caps(out, contest, limits)
    elif act == "forget":
        forget(out, contest, target, yes)
    else:
        if person and target:
            raise UsageError("void takes ENTRY or --person NAME, not both", hint="leave one of them out")
        void(out, contest, act, target, person, because)


def refuse_other_options(act: str, target: str) -> None:
    """Raise UsageError for an argument or a typed option that the act does not take."""
    if bool(target) != bool(ARGUMENT[act]):
        raise UsageError(f"{act} takes {ARGUMENT[act] or 'no argument'}", hint="metaloop contest host --help")
    context = click.get_current_context()
    for name, option in OPTIONS.items():
        if name not in TAKES[act] and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{option} is not for {act}", hint=f"leave {option} out")


def void(out: Output, contest: Contest, act: str, entry: str, person: str, because: str) -> None:
    """Declare an entry void, or all of a ``person``, or reinstate it; in the ledger at once, unless a running host
    writes it there."""
    if person:
        done = acts.void_person(contest, person, because)
    else:
        done = [(acts.void if act == acts.VOID else acts.unvoid)(contest, entry, because)]
    acts.write_down(contest)
    for item in done:
        row = acts.row(item)
        out.thing({**row, "at": iso(row["at"])})
    is_racing = any(item.number in (contest.state().get("leaders") or []) for item in done)
    out.note(acts.consequence(act, contest.phase(), is_racing))
    if act == acts.VOID:
        undo = f"metaloop contest host {resolve.typed(contest.folder)} unvoid {done[0].number}"
        out.next(f"{undo}  # to undo it; the reason is public")


def forget(out: Output, contest: Contest, name: str, yes: bool) -> None:
    """Remove an entrant's account."""
    with contest.database.read() as connection:
        removal.account(connection, name)
    out.note(removal.consequence(contest.phase()))
    if not yes:
        refused = "there is no terminal to ask whether to remove the account"
        ask(f"Remove the account of {name} for good?", refused, "-y removes it")
    out.thing({"name": removal.forget(contest, name)})


def caps(out: Output, contest: Contest, limits: ModelFlags) -> None:
    """Show or change the spending limits of a contest's models. A running host applies new ones by itself."""
    study = contest.study
    wanted = parse_models(limits)[1]
    if wanted.model_fields_set - {"models"}:  # also where nothing changes: a paused queue then tries again
        study = study.model_copy(update={"llm": study.llm.with_limits(wanted)})
        study.dump(contest.folder / resolve.MARK)
    spent = SpendLimiter(contest.folder).spent()
    out.thing(
        {
            "researcher": study.researcher,
            "models": ", ".join(study.llm.models),
            **{name: getattr(study.llm, name) for name in ("max_usd", "max_tokens", "run_usd", "run_tokens")},
            "spent_usd": round(spent.usd, 4),
            "spent_tokens": spent.tokens,
        }
    )


def publish(out: Output, folder: Path, target: Path) -> None:
    """Write what may be published of a contest: programs, board and ledger, also texts that the pages still hide."""
    contest = Contest.open(folder)
    summary = export(contest, target)
    out.thing(summary)
    if summary["decided"]:
        out.next(f"metaloop verify {resolve.typed(target)}  # README.md says what each file is")
    else:
        out.note("study.toml is left out because it holds the secret; export again after the decision")
