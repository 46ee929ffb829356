"""``metaloop contest join``, ``submit`` and ``status``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
from click.core import ParameterSource

from analysis.wording import decimals, duration, many, number, ranks, span, typical
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Column, Output, Row
from programs.errors import ProgramError, UsageError
from programs.text import MAX_BYTES

if TYPE_CHECKING:
    from arena.contest.client import ContestClient
    from arena.contest.contest import Contest

ToFlag = Annotated[str | None, flag("The contest's address: http://HOST:PORT.", "--to", metavar="URL")]
TokenFlag = Annotated[str | None, flag("Your token; safer in METALOOP_TOKEN.", "--token", metavar="TOKEN")]
SHOWN = ("entry_id", "number", "state", "new", "program_id", "sha256", "received_at", "url")
OUTSIDE = ("left_out", "not_racing")  # the entries of a decision outside its race
UNDECIDED = ("rank", "claimed", "device_seconds_charged", "state")  # columns that a decision lacks
MINE = (
    Column("number", right=True),
    Column("entry_id"),
    Column("name", wrap=True),
    Column("state"),
    Column("runs_done", "runs", right=True),
    Column("reason", "result", wrap=True),
)


def client_of(to: str | None, token: str | None = None) -> ContestClient:
    from arena.contest.client import ContestClient

    if not to:
        raise UsageError("name the contest", hint="--to http://HOST:PORT, or METALOOP_TO; on its host, the folder")
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
    out.thing(client_of(to).join(name, code))
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
        str, flag("Entry that yours is based on, as on the leaderboard  [default: stock].", metavar="ENTRY", default="")
    ],
) -> None:
    """Enter a program. When the command returns, the host has stored the entry.
    Submitting the same text again does not count as another entry."""
    from arena.contest.client import lint_lines
    from arena.serving.client import RequestRejected

    client = client_of(to, token)
    client.need_token()
    raw = document_of(resolve.program_path(program))
    try:
        entry = client.enter(raw, parent)
    except RequestRejected as problem:
        hint = problem.hint.replace(" FILE ", f" {shlex.quote(program)} ")
        lines = lint_lines(problem.detail.get("lint"), program) if out.mode != "json" else []
        for line in lines:
            out.note(line)
        said = f"{program} is not stored: see the mistakes above" if lines else problem.message
        raise RequestRejected(said, hint, problem.detail) from None
    for line in lint_lines(entry["lint"], program):
        out.note(line)
    row = {**entry, "url": f"{client.base}/entry/{entry['entry_id']}"}
    out.thing(row if out.mode == "json" else {key: row[key] for key in SHOWN})
    if not entry["new"]:
        kept = "; what it is based on stays as it was" if parent else ""
        out.note(f"you have already entered this text; this does not count as another entry{kept}")


def document_of(path: Path) -> bytes:
    """The program at a path as one text. A file whose settings cannot be read is sent as it is: the host's check lists
    all its mistakes, as on the page. Raises what `programs.folder.load` raises otherwise."""
    from programs.folder import load
    from programs.program import Program

    try:
        return load(path).labelled.document.encode()
    except ProgramError:
        raw = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_BYTES else b""
        try:
            Program.parse(raw)
        except ProgramError:
            if raw:
                return raw
        raise


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
    from arena.contest.contest import Contest

    if folder and click.get_current_context().get_parameter_source("to") is ParameterSource.COMMANDLINE:
        raise UsageError("a folder and --to exclude each other", hint="leave one of them out")
    path = resolve.contest_folder(folder, out) if folder else None
    view = of_folder(Contest.open(path)) if path else of_address(to, token)
    if out.mode == "json":
        out.json(view)
    else:
        show(out, view, path)


def of_address(to: str | None, token: str | None) -> dict[str, Any]:
    from arena.contest.ranking.view_types import BoardView, ContestView, PersonView

    client = client_of(to, token)
    return {
        "contest": client.get("/api/v1/contest", ContestView),
        "board": client.get("/api/v1/board", BoardView),
        "me": client.get("/api/v1/me", PersonView) if token else None,
    }


def of_folder(contest: Contest) -> dict[str, Any]:
    from arena.contest.ranking.views import board_view, contest_view
    from arena.contest.running.health import health
    from arena.serving.clock import iso

    views = {"contest": contest_view(contest), "board": board_view(contest, admin=True), "health": health(contest)}
    return {**json.loads(json.dumps(views, default=iso)), "address": contest.database.fact("address").get("url", "")}


def show(out: Output, view: Mapping[str, Any], folder: Path | None) -> None:
    """Print a contest: its state, its leaderboard or the runs that decided, the viewer's entries, what to do next."""
    from arena.contest.ranking.announced import race_results, secret_check, sentences

    board, said = view["board"], view["board"]["announcement"]
    race = {int(number): words for number, words in board.get("race", {}).items()}
    out.thing({name: value for name, value in facts(view).items() if value})
    for problem in (view.get("health") or {}).get("problems", ()):
        out.warn(problem)
    for line in sentences(said) if "outcome" in said else ():
        out.note(line)
    copies = {row["number"]: row["copy_of"] for row in board["rows"] if row.get("copy_of")}
    results = race_results(said) if said else race or copies
    for act in board.get("since", ()):
        results[act["number"]] = f"{results.get(act['number'], '')}; void since then: {act['because']}"
    measured = said.get("rows") or board["rows"]
    rows = [shown({**row, "result": results.get(row["number"])}, measured) for row in measured]
    rows += [{**who, "entry": named(who), "result": who["why"]} for key in OUTSIDE for who in said.get(key, ())]
    if not said:
        for key, kind in (("unmeasured", "without a measured run"), ("void", "that are void")):
            for entry in board[key]:
                reason = entry["reason"] or race.get(entry["number"])
                rows.append({**own_row(entry), "entry": named(entry), "result": reason})
            if (more := board[f"{key}_total"] - len(board[key])) > 0:
                out.note(f"{many(more, 'earlier entry')} {kind} not listed")
    left_out = UNDECIDED if said.get("rows") else () if any(row["result"] for row in rows) else ("result",)
    out.rows(rows, columns(board["unit"], left_out), empty="no run measured yet")
    if mine := view.get("me"):
        out.note(f"{mine['name']}: {mine['used']} of {mine['quota']} entries used")
        out.rows([own_row(entry) for entry in mine["entries"]], MINE, empty="no entries yet")
    commands = steps(view["contest"], folder, bool(said.get("winners"))) if folder else []
    if said.get("secret"):
        commands.append(f"{secret_check(said)}  # prints the hash that was published at the opening")
    if commands:
        out.next(*commands)


def facts(view: Mapping[str, Any]) -> Row:
    """The state of a contest by name; empty where there is nothing to say."""
    from arena.contest.running.health import queue_words
    from arena.contest.running.pace import progress_line
    from arena.contest.tables import state_label

    contest, health, said = view["contest"], view.get("health"), view["board"]["announcement"]
    race: Any = dict(contest.get("deciding") or {})
    if health and not health["at_work"]:
        race.pop("seconds", None)  # nothing goes on, so there is no time left
    states = [f"{count} {state_label(state)}" for state, count in health["states"].items()] if health else []
    is_open, is_decided = contest["phase"] in ("upcoming", "open"), bool(said.get("secret"))
    return {
        "contest": contest["title"],
        "phase": contest["phase"],
        "closes": is_open and contest["closes"],
        "waiting for": is_waiting(contest) and "the host to close the contest",
        "closed early": contest.get("closed_early"),
        "race": progress_line(race),
        "next look": race.get("next_look") and f"after {many(race['next_look'], 'run')} of each",
        "decision": said.get("headline"),
        "secret": said.get("secret"),
        "its SHA-256": is_decided and contest["secret_hash"],
        "ledger head": (head := contest.get("ledger_head")) and f"{head['segment']} {head['hash']}",
        "entries": states and ", ".join([*states, "stock's two arms included"]),
        "queue": health and queue_words(health),
        "named": health and health["power"] is not None and f"in {health['power']:.0%} of simulated closes",
        "address": view.get("address"),
    }


def is_waiting(contest: Mapping[str, Any]) -> bool:
    """Whether only the host's command is missing for the decision."""
    return contest["phase"] == "closing" and not (contest["left"] or contest["close_asked"])


def steps(contest: Mapping[str, Any], folder: Path, is_won: bool) -> list[str]:
    """The host's next commands. ``is_won``: an entry has won, so there is a card."""
    name, to = resolve.typed(folder), resolve.typed(folder.with_name(f"{folder.name}-export"))
    if contest["phase"] == "decided":
        return [
            f"metaloop export {name} -o {to}  # programs, results and ledger, to publish",
            f"metaloop verify {to}  # what every reader of it can check: all seeds follow from the secret",
            f"metaloop contest serve {name}  # the pages to share: /{', and /card.svg' if is_won else ''}",
        ]
    return [f"metaloop contest close {name}"] if is_waiting(contest) else []


def named(row: Mapping[str, Any]) -> str:
    """The entry of a row that the host sent."""
    from arena.contest.stored import STOCK, entry_label

    return STOCK.get(row.get("role", "")) or entry_label(row["entrant"], row["name"])


def shown(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Row:
    """A row of the leaderboard ``rows`` with its figures formatted; its other keys stay."""
    from arena.contest.tables import state_label

    digits = decimals(typical(other["se"] for other in rows))
    return {
        **row,
        "state": state_label(row["state"]),
        "rank": ranks(row["rank_low"], row["rank_high"]),
        "entry": named(row),
        "gain": number(row["gain"], digits),
        "interval": span(row["low"], row["high"], digits),
        "claimed": number(row["claimed"], digits),
    }


def columns(unit: str, left_out: Sequence[str] = ()) -> list[Column]:
    every = (
        Column("rank"),
        Column("entry", wrap=True),  # whole: the beginnings of two names can be the same
        Column("gain", f"gain, {unit}", right=True),
        Column("interval", "95%"),
        Column("claimed", "claimed gain", right=True, optional=True),
        Column("n", "runs", right=True),
        Column("device_seconds_charged", "device", right=True, show=duration, optional=True),
        Column("state"),
        Column("entry_id", person=False),
        Column("result", wrap=True),
    )
    return [column for column in every if column.key not in left_out]


def own_row(entry: Mapping[str, Any]) -> Row:
    """An entry, one of the viewer's with what became of it in the decision."""
    from arena.contest.tables import state_label

    return {**entry, "state": state_label(entry["state"]), "reason": entry.get("outcome") or entry["reason"]}
