"""``metaloop contest status``: where a contest stands, over its address or in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from meta.cli import resolve
from meta.cli.contest_entrant import ToFlag, TokenFlag, client_of, columns, shown
from meta.cli.options import argument, duration, verb
from meta.cli.output import Column, Output
from programs.errors import UsageError

MINE = (Column("number", right=True), Column("entry_id"), Column("name", flex=True), Column("state"),
        Column("runs_done", "runs", right=True), Column("reason", wrap=True))  # fmt: skip
MOST = 500  # rows of the board


@verb(
    ("metaloop contest status --to http://HOST:8321", "the board; with a token your entries too"),
    ("metaloop contest status my-contest", "the host's: queue and workers too, from the folder"),
    ("metaloop contest status --to URL --json", "all of it for a script"),
)
def status(
    out: Output, folder: Annotated[str | None, argument(metavar="[DIR]", required=False)], to: ToFlag, token: TokenFlag
) -> None:
    """Where a contest stands: phase, board and, with a token, your own entries; of a
    folder on this machine, how queue and workers do."""
    if folder and to:
        raise UsageError("a folder and --to: which of them?", hint="leave one of them out")
    if not folder and not to:
        raise UsageError("which contest?", hint="--to http://HOST:PORT, or METALOOP_TO; on its host the folder")
    found = of_folder(resolve.contest_folder(folder, out)) if folder else of_address(to, token)
    if out.mode == "json":
        out.json(found)
        return
    contest, board = found["contest"], found["board"]
    until = f", closes {contest['closes']}" if contest["phase"] in ("upcoming", "open") else ""
    out.note(f"{contest['title']}: {contest['phase']}{until}")
    if contest.get("closed_early"):
        out.note(f"closed early by the host: {contest['closed_early']}")
    if board["announcement"]:
        out.note(f"decision: {board['announcement']['headline']}")
    for act in board.get("since", ()):
        out.note(f"since then the host has declared {act['entrant']}, number {act['number']} void: {act['because']}")
    health(out, found.get("health"))
    out.rows([shown(row, board["rows"]) for row in board["rows"]], columns(board["unit"]), empty="no run measured yet")
    if found.get("me"):
        mine = found["me"]
        out.note(f"{mine['name']}: used {mine['used']} of {mine['quota']} entries")
        out.rows(mine["entries"], MINE, empty="no entries yet")


def of_address(to: str | None, token: str | None) -> dict[str, Any]:
    client = client_of(to, token)
    return {"contest": client.get("/api/v1/contest"), "board": client.get("/api/v1/board"),
            "me": client.get("/api/v1/me") if token else None}  # fmt: skip


def of_folder(folder: Path) -> dict[str, Any]:
    from arena.contest import health
    from arena.contest.contest import Contest
    from arena.contest.views import board_view, contest_view, plain

    found = Contest.open(folder)
    told = {"contest": contest_view(found), "board": board_view(found), "health": health.health(found)}
    whole: dict[str, Any] = plain(told)
    return whole


def health(out: Output, told: dict[str, Any] | None) -> None:
    """Of the queue, in words; nothing of a contest elsewhere."""
    if told is None:
        return
    states = ", ".join(f"{count} {state}" for state, count in told["states"].items())
    seen = "" if told["seen_seconds"] is None else f", last look {duration(told['seen_seconds'])} ago"
    out.note(f"entries: {states}; {'at work' if told['at_work'] else 'nobody at work'}{seen}")
    for problem in told["problems"]:
        out.note(f"look at this: {problem}")
