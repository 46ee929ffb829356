"""``metaloop contest status``: phase and leaderboard of a contest, by its address or its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from analysis.wording import many
from meta.cli import resolve
from meta.cli.contest_close import publishing
from meta.cli.contest_entrant import ToFlag, TokenFlag, client_of, columns, decided_rows, named, shown
from meta.cli.options import argument, verb
from meta.cli.output import Column, Output
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.contest.health import QueueHealth

MINE = (
    Column("number", right=True),
    Column("entry_id"),
    Column("name", wrap=True),
    Column("state"),
    Column("runs_done", "runs", right=True),
    Column("reason", "result", wrap=True),
)
MOST = 500  # rows of the board


@verb(
    ("metaloop contest status --to http://HOST:8321", "the leaderboard; with a token your entries"),
    ("metaloop contest status my-contest", "for the host: with the queue and the workers"),
    ("metaloop contest status --to URL --json", "the same for a script"),
)
def status(
    out: Output, folder: Annotated[str | None, argument(metavar="[DIR]", required=False)], to: ToFlag, token: TokenFlag
) -> None:
    """Show the phase and the leaderboard of a contest. With a token, also shows your own
    entries; for a folder on this machine, also the queue and its problems."""
    if folder and to:
        raise UsageError("a folder and --to exclude each other", hint="leave one of them out")
    if not folder and not to:
        raise UsageError("name the contest", hint="--to http://HOST:PORT, or METALOOP_TO; on its host, the folder")
    from arena.contest.announced import secret_check

    view = of_folder(resolve.contest_folder(folder, out)) if folder else of_address(to, token)
    if out.mode == "json":
        out.json(view)
        return
    contest, board = view["contest"], view["board"]
    until = f", closes {contest['closes']}" if contest["phase"] in ("upcoming", "open") else ""
    out.note(f"{contest['title']}: {contest['phase']}{until}")
    if contest["phase"] == "closing" and not (contest["left"] or contest["close_asked"]):
        out.note("waiting for the host to close the contest")
        if folder:
            out.note(f"now: metaloop contest close {resolve.typed(resolve.contest_folder(folder, out))}")
    if contest.get("closed_early"):
        out.note(f"closed early by the host: {contest['closed_early']}")
    _decision(out, view)
    for act in board.get("since", ()):
        out.note(f"since then the host has declared {named(act)} void: {act['because']}")
    health(out, view.get("health"))
    if board["announcement"].get("rows"):
        out.note("the confirming runs, which decided; the leaderboard before them: on the pages, in --json")
        decided_rows(out, board["announcement"])
    else:
        rows = [shown(row, board["rows"]) for row in board["rows"]]
        out.rows(rows, columns(board["unit"]), empty="no run measured yet")
        for remark in board.get("remarks", ()):
            out.note(remark)
    if view.get("me"):
        _own(out, view["me"])
    if board["announcement"].get("secret"):
        publish = publishing(resolve.contest_folder(folder, out)) if folder else ()
        out.next(
            *publish, f"{secret_check(board['announcement'])}  # prints the hash that was published at the opening"
        )


def _decision(out: Output, view: Mapping[str, Any]) -> None:
    """How far the decision is, and what it is."""
    from arena.contest.announced import renamed
    from arena.contest.pace import progress_line

    contest, announcement = view["contest"], view["board"]["announcement"]
    if going := contest.get("deciding"):
        if not (view.get("health") or {"at_work": True})["at_work"]:
            going.pop("seconds", None)  # nothing goes on, so there is no time left
        out.note(progress_line(going))
        if after := going.get("next_look"):
            out.note(f"the next look is after {many(after, 'run')} of each")
        for one in going.get("race", ()):
            out.note(f"  {named(one)}: {one['said']}")
    if announcement:
        out.note(f"decision: {announcement['headline']}")
        if secret := announcement.get("secret"):
            out.note(
                f"secret: {secret}; the SHA-256 of its bytes was published at the opening: {contest['secret_hash']}"
            )
        for line in renamed(announcement):
            out.note(line)


def _own(out: Output, mine: Mapping[str, Any]) -> None:
    from arena.contest.tables import state_label

    out.note(f"{mine['name']}: {mine['used']} of {mine['quota']} entries used")
    entries = [
        {
            **each,
            "state": state_label(each["state"]),
            "reason": each["outcome"] or each["reason"] or each.get("beside_stock", ""),
        }
        for each in mine["entries"]
    ]
    out.rows(entries, MINE, empty="no entries yet")


def of_address(to: str | None, token: str | None) -> dict[str, Any]:
    client = client_of(to, token)
    return {
        "contest": client.get("/api/v1/contest"),
        "board": client.get("/api/v1/board"),
        "me": client.get("/api/v1/me") if token else None,
    }


def of_folder(folder: Path) -> dict[str, Any]:
    from arena.contest import health
    from arena.contest.contest import Contest
    from arena.contest.views import board_view, contest_view, plain

    opened = Contest.open(folder)
    views = {"contest": contest_view(opened), "board": board_view(opened, admin=True), "health": health.health(opened)}
    whole: dict[str, Any] = plain(views)
    return whole


def health(out: Output, queue: QueueHealth | None) -> None:
    """The state of the queue in words; nothing for a contest on another machine."""
    if queue is None:
        return
    from arena.contest.health import queue_words
    from arena.contest.tables import state_label

    states = ", ".join(f"{count} {state_label(state)}" for state, count in queue["states"].items())
    out.note(f"entries: {states}, stock's two arms included; queue: {queue_words(queue)}")
    if queue["outlook"]:
        out.note(queue["outlook"])
    for problem in queue.get("problems", ()):
        out.note(f"problem: {problem}")
