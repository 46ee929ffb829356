"""``metaloop contest close``: no more entries, the queue runs dry, the leaders run again, the winner is announced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from analysis.wording import decimals, many, number, span, typical
from meta.cli import resolve
from meta.cli.contest_entrant import columns, shown
from meta.cli.flags import ContestFolder
from meta.cli.options import flag, verb
from meta.cli.output import Output
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.contest.contest import Contest

LOOK_SECONDS = 0.5


@verb(
    ("metaloop contest close my-contest", "after the closing time of the rules"),
    ("metaloop contest close my-contest --early 'rain'", "before it; everybody is told why"),
)
def close(
    out: Output,
    folder: ContestFolder,
    early: Annotated[str | None, flag("Close before the time in the rules; the reason is public.", metavar="WHY")],
) -> None:
    """Close a contest for good: entries that were accepted get their runs, the leaders
    play once more on fresh seeds and data, and the decision is announced with the
    secret. Works beside `serve` and without it; the same command goes on."""
    from arena.contest.contest import Contest

    place = resolve.contest_folder(folder, out)
    found = Contest.open(place)
    if found.phase() != "decided":
        ask(found, early, resolve.typed(place))
        follow(out, found)
    present(out, found)


def ask(contest: Contest, early: str | None, place: str) -> None:
    """Write the wish down, which whoever works on the contest carries out. Raises UsageError where it is too early."""
    from arena.contest.settings import shown, utc_now

    if contest.phase() in ("upcoming", "open"):
        if not early:
            when = shown(contest.config.closes)
            raise UsageError(
                f"the rules say that it closes at {when}", hint=f"metaloop contest close {place} --early WHY"
            )
        contest.state(early=early)
    if not contest.state().get("close_asked"):
        contest.state(close_asked=utc_now().isoformat())


def follow(out: Output, contest: Contest) -> None:
    """Carry it out here where nobody else does; else wait for who does."""
    from arena.contest.work import carry_on
    from programs.errors import Busy

    said = ""
    while contest.phase() != "decided":
        try:
            carry_on(contest, out.note)
        except Busy:
            if (now := where(contest)) != said:
                out.note(now)
            said = now
            time.sleep(LOOK_SECONDS)
            continue
        if (contest.folder / "stop").exists():
            raise KeyboardInterrupt


def where(contest: Contest) -> str:
    """How far it is, in a line; of the confirming runs in steps of a twelfth."""
    from arena.contest.health import left
    from arena.contest.pace import LINES, deciding

    told = deciding(contest)
    if not told:
        return f"waiting for the queue: {many(left(contest), 'entry')} with runs to come"
    step = max(1, told["wanted"] // LINES)
    return f"{told['done'] // step * step} of {told['wanted']} confirming runs"


def present(out: Output, contest: Contest) -> None:
    """The announcement, and what the host has declared void since."""
    from arena.contest.acts import since

    told: dict[str, Any] = contest.database.fact("announcement")
    if out.mode == "json":
        out.json(told)
        return
    digits = decimals(typical(row["se"] for row in told["rows"]))
    early = contest.state().get("early")
    if early:
        out.note(f"closed early by the host: {early}")
    out.note(told["headline"])
    for who in told.get("left_out", ()):
        out.note(f"decided without {who['entrant']}, number {who['number']}: {who['why']}")
    for act in since(contest, told):
        out.note(f"since then the host has declared {act['entrant']}, number {act['number']} void: {act['because']}")
    if told["outcome"] != "empty":
        out.note(
            f"the first gained {number(told['gain'], digits)} {told['unit']}, 95% interval "
            f"{span(told['low'], told['high'], digits)}; {number(told['over_stock'], digits, True)} over stock, "
            f"{span(told['over_low'], told['over_high'], digits)}"
        )
        rows = [shown(row, told["rows"]) for row in told["rows"]]
        out.rows(rows, columns(told["unit"]))
    out.note(f"secret {told['secret']}, SHA-256 {told['secret_hash']}")
