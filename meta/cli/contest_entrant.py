"""The entrant's commands ``metaloop contest join`` and ``submit``, and the leaderboard in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from analysis.wording import decimals, number, ranks, span, typical
from meta.cli import resolve
from meta.cli.options import argument, duration, flag, verb
from meta.cli.output import Column, Output, Row
from programs.errors import ProgramError, UsageError
from programs.text import MAX_BYTES

if TYPE_CHECKING:
    from arena.contest.client import ContestClient
    from arena.contest.stored import Announcement, MeasuredRow

ToFlag = Annotated[str | None, flag("The contest's address: http://HOST:PORT.", "--to", metavar="URL")]
TokenFlag = Annotated[str | None, flag("Your token; safer in METALOOP_TOKEN.", "--token", metavar="TOKEN")]
LINT = (Column("line", right=True), Column("level"), Column("message", wrap=True), Column("code", style="dim"))


def client_of(to: str | None, token: str | None = None) -> ContestClient:
    from arena.contest.client import ContestClient

    if not to:
        raise UsageError("name the contest", hint="--to http://HOST:PORT, or METALOOP_TO")
    return ContestClient(to, token)


@verb(
    ("metaloop contest join --to URL --name Ada --code CODE", "prints your token, once only"),
    ("metaloop contest join --to URL --name Ada --json", "where no code is needed, for a script"),
)
def join(
    out: Output,
    to: ToFlag,
    name: Annotated[str, flag("Your name on the leaderboard.", metavar="NAME", required=True)],
    code: Annotated[str, flag("The join code from the host.", metavar="CODE", default="")],
) -> None:
    """Join a contest under a name and get your token."""
    out.thing(client_of(to).post("/api/v1/join", {"name": name, "code": code}))
    out.note("save the token, it is not shown again: export METALOOP_TOKEN=…")


@verb(
    ("metaloop contest submit program.md --to http://HOST:8321", "with the token in METALOOP_TOKEN"),
    ("metaloop contest submit mine.md --to URL --parent 'Ada: bold'", "based on an earlier entry"),
    ("metaloop contest submit program.md --to URL --json", "for a script: entry_id, state, lint"),
)
def submit(
    out: Output,
    program: Annotated[str, argument(metavar="PROGRAM")],
    to: ToFlag,
    token: TokenFlag,
    parent: Annotated[
        str,
        flag(
            "The entry that your program is based on, by its name on the leaderboard  [default: stock].",
            metavar="ENTRY",
            default="",
        ),
    ],
) -> int:
    """Enter a program. When the command returns, the host has stored the entry.
    Submitting the same text again does not count as another entry."""
    from arena.contest.client import RequestRejected, lint_lines

    client = client_of(to, token)
    client.need_token()
    raw = document_of(resolve.program_path(program))
    try:
        entry = client.enter(raw, parent)
    except RequestRejected as problem:
        hint = problem.hint.replace(" FILE ", f" {shlex.quote(program)} ")
        lines = lint_lines(problem.detail, program) if out.mode != "json" else []
        for line in lines:
            out.note(line)
        said = f"{program} is not stored: see the mistakes above" if lines else problem.message
        raise RequestRejected(said, hint, problem.detail) from None
    entry["url"] = f"{client.base}/entry/{entry['entry_id']}"
    for line in lint_lines(entry, program):
        out.note(line)
    kept = ("entry_id", "number", "state", "new", "program_id", "sha256", "received_at", "url")
    out.thing(entry if out.mode == "json" else {key: entry[key] for key in kept})
    if not entry["new"]:
        out.note("you have already entered this text; this does not count as another entry")
    return 0


def document_of(path: Path) -> bytes:
    """The program at a path as one text. A file whose settings cannot be read is sent as it is: the host's check lists
    all its mistakes, as on the page. Raises what `programs.folder.load` raises otherwise."""
    from programs.folder import load
    from programs.lint import readable

    try:
        return load(path).labelled.document.encode()
    except ProgramError:
        raw = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_BYTES else b""
        if not raw or not readable(raw, str(path))[1]:
            raise
        return raw


class LeaderboardRow(TypedDict):
    """A row of a leaderboard, with the keys in use."""

    role: str
    state: str
    entrant: str
    name: str
    rank_low: int | None
    rank_high: int | None
    gain: float | None
    se: float | None
    low: float | None
    high: float | None
    claimed: float | None


def named(row: Mapping[str, Any]) -> str:
    """The entry of a row that the host sent."""
    from arena.contest.stored import entry_label

    return entry_label(row["entrant"], row["name"])


def shown(row: LeaderboardRow | MeasuredRow, rows: Sequence[LeaderboardRow] | Sequence[MeasuredRow]) -> Row:
    """A row of the leaderboard with its figures formatted; the entry's other keys stay."""
    from arena.contest.stored import STOCK
    from arena.contest.tables import state_label

    digits = decimals(typical(other["se"] for other in rows))
    return {
        **row,
        "state": state_label(row["state"]),
        "rank": ranks(row["rank_low"], row["rank_high"]),
        "entry": STOCK.get(row["role"]) or named(row),
        "gain": number(row["gain"], digits),
        "interval": span(row["low"], row["high"], digits),
        "claimed": number(row["claimed"], digits),
    }


def columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("rank"),
        Column("entry", wrap=True),  # whole: the beginnings of two names can be the same
        Column("gain", f"gain, {unit}", right=True),
        Column("interval", "95%"),
        Column("claimed", "claimed gain", right=True, optional=True),
        Column("n", "runs", right=True),
        Column("device_seconds_charged", "device", right=True, show=duration, optional=True),
        Column("state"),
        Column("entry_id", person=False),
    )


def decided_rows(out: Output, announcement: Announcement) -> None:
    """The table of a decision: results of a race, which orders nobody but the best; else ranks."""
    from arena.contest.announced import race_results

    results, measured = race_results(announcement), announcement["rows"]
    rows = [{**shown(row, measured), "result": results.get(row["number"])} for row in measured]
    kept = [each for each in columns(announcement["unit"]) if each.key not in ("claimed", "device_seconds_charged")]
    out.rows(rows, (*kept[1:-2], kept[-1], Column("result", wrap=True)) if results else kept)
