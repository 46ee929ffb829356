"""``metaloop contest join``, ``submit`` and ``status``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
from click.core import ParameterSource

from analysis.wording import many, ranks
from arena.contest.client import ContestClient, lint_lines
from arena.contest.contest import Contest
from arena.contest.ranking.announced import race_results, secret_check, sentences
from arena.contest.ranking.views import BoardView, ContestView, PersonView, board_view, contest_view
from arena.contest.running.health import health
from arena.contest.running.pace import progress_line
from arena.contest.stored import STOCK, entry_label, own_result
from arena.contest.tables import state_label
from arena.serving.client import RequestRejected
from arena.serving.clock import iso
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.options import argument, flag
from meta.cli.output import Output, Row
from meta.cli.views import View
from programs.common.errors import UsageError
from programs.folder import load

ToFlag = Annotated[str | None, flag("The contest's address: http://HOST:PORT.", "--to", metavar="URL")]
TokenFlag = Annotated[str | None, flag("Your token; safer in METALOOP_TOKEN.", "--token", metavar="TOKEN")]
SHOWN = ("entry_id", "number", "state", "new", "program_id", "sha256", "received_at", "url")
OUTSIDE = ("left_out", "not_racing")  # the entries of a decision outside its race
UNDECIDED = ("rank", "claimed", "device_seconds_charged", "state")  # columns that a decision lacks
MAY_LACK = ("claimed", "device_seconds_charged", "entry_id")  # columns that a narrow terminal leaves out


def client_of(to: str | None, token: str | None = None) -> ContestClient:
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
    ("metaloop contest submit program.md --to URL --json", "for a script: entry_id, state, lint"),
)
def submit(
    out: Output,
    program: Annotated[str, argument(metavar="PROGRAM")],
    to: ToFlag,
    token: TokenFlag,
) -> None:
    """Enter a program. When the command returns, the host has stored the entry.
    Submitting the same text again does not count as another entry."""
    client = client_of(to, token)
    client.need_token()
    raw = load(resolve.program_path(program)).labelled.document.encode()
    try:
        entry = client.enter(raw)
    except RequestRejected as problem:
        if out.mode != "json":
            for line in lint_lines(problem.detail.get("lint"), program):
                out.note(line)
        raise
    for line in lint_lines(entry["lint"], program):
        out.note(line)
    row = {**entry, "url": f"{client.base}/entry/{entry['entry_id']}"}
    out.thing(row if out.mode == "json" else {key: row[key] for key in SHOWN})
    if not entry["new"]:
        out.note("you have already entered this text; this does not count as another entry")


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
    if folder and click.get_current_context().get_parameter_source("to") is ParameterSource.COMMANDLINE:
        raise UsageError("a folder and --to exclude each other", hint="leave one of them out")
    path = resolve.contest_folder(folder, out) if folder else None
    view = of_folder(Contest.open(path)) if path else of_address(to, token)
    if out.mode == "json":
        out.json(view)
    else:
        show(out, view, path)


def of_address(to: str | None, token: str | None) -> dict[str, Any]:
    """A contest as its host shows it."""
    client = client_of(to, token)
    return {
        "contest": client.get("/api/v1/contest", ContestView),
        "board": client.get("/api/v1/board", BoardView),
        "me": client.get("/api/v1/me", PersonView) if token else None,
    }


def of_folder(contest: Contest) -> dict[str, Any]:
    """A contest of this machine, as its host sees it."""
    views = {"contest": contest_view(contest), "board": board_view(contest), "health": health(contest)}
    return {**json.loads(json.dumps(views, default=iso)), "address": contest.database.fact("address").get("url", "")}


def show(out: Output, view: Mapping[str, Any], folder: Path | None) -> None:
    """Print a contest: its state, its leaderboard or the runs that decided, the viewer's entries, what to do next."""
    board, decision = view["board"], view["board"]["announcement"]
    out.thing({name: value for name, value in facts(view).items() if value})
    for problem in (view.get("health") or {}).get("problems", ()):
        out.warn(problem)
    if "outcome" in decision:
        for line in sentences(decision):
            out.note(line)
    rows = board_rows(board)
    for key, what in (("unmeasured", "without a measured run"), ("void", "that are void")):
        left_out = board.get(f"{key}_total", 0) - len(board.get(key, ()))
        if left_out > 0 and not decision:
            out.note(f"{many(left_out, 'earlier entry')} {what} not listed")
    how = View("", hide=UNDECIDED if decision.get("rows") else (), optional=MAY_LACK)
    views.show(out, rows, how, empty="no run measured yet")
    if person := view.get("me"):
        out.note(f"{person['name']}: {person['used']} of {person['quota']} entries used")
        views.show(out, [own_row(entry) for entry in person["entries"]], View(""), empty="no entries yet")
    commands = next_commands(view["contest"], folder) if folder else []
    if decision.get("secret"):
        commands.append(f"{secret_check(decision)}  # prints the hash that was published at the opening")
    if commands:
        out.next(*commands)


def board_rows(board: Mapping[str, Any]) -> list[Row]:
    """The rows of the leaderboard, or of the decision where there is one. ``result``: what became of the entry."""
    decision = board["announcement"]
    standings = {row["number"]: row.get("race") or row.get("copy_of") for row in board["rows"]}
    results = race_results(decision) if decision else standings
    for act in board.get("since", ()):
        results[act["number"]] = f"{results.get(act['number'])}; void since then: {act['because']}"
    measured = decision.get("rows") or board["rows"]
    rows = [(row, results.get(row["number"])) for row in measured]
    rows += [(row, row["why"]) for key in OUTSIDE for row in decision.get(key, ())]
    if not decision:
        unmeasured = (*board["unmeasured"], *board["void"])
        rows += [(row, row["reason"] or row["race"]) for row in unmeasured]
    return [board_row(row, result) for row, result in rows]


def facts(view: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a contest by name; empty where there is nothing to say."""
    contest, host, decision = view["contest"], view.get("health"), view["board"]["announcement"]
    race: Any = dict(contest.get("deciding") or {})
    if host and not host["at_work"]:
        race.pop("seconds", None)  # nothing goes on, so there is no time left
    rows = {"contest": contest["title"], "phase": contest["phase"]}
    if contest["phase"] in ("upcoming", "open"):
        rows["closes"] = contest["closes"]
    if is_waiting(contest):
        rows["waiting for"] = "the host to close the contest"
    rows |= {"closed early": contest.get("closed_early"), "race": progress_line(race)}
    if race.get("next_look"):
        rows["next look"] = f"after {many(race['next_look'], 'run')} of each"
    rows |= {"decision": decision.get("headline"), "secret": decision.get("secret")}
    if decision.get("secret"):
        rows["its SHA-256"] = contest["secret_hash"]
    if head := contest.get("ledger_head"):
        rows["ledger head"] = f"{head['segment']} {head['hash']}"
    if host:
        states = [f"{count} {state_label(state)}" for state, count in contest["states"].items()]
        rows["entries"] = states and ", ".join([*states, "stock's two arms included"])
        rows["queue"] = host["queue"]
        rows["named"] = host["power"] is not None and f"in {host['power']:.0%} of simulated closes"
    return {**rows, "address": view.get("address"), "gain": f"in {view['contest']['unit']}"}


def is_waiting(contest: Mapping[str, Any]) -> bool:
    """Whether only the host's command is missing for the decision."""
    return contest["phase"] == "closing" and not (contest["left"] or contest["close_asked"])


def next_commands(contest: Mapping[str, Any], folder: Path) -> list[str]:
    """What the host of a contest does next."""
    name, copy = resolve.typed(folder), resolve.typed(folder.with_name(f"{folder.name}-export"))
    if contest["phase"] == "decided":
        return [
            f"metaloop export {name} -o {copy}  # programs, results and ledger, to publish",
            f"metaloop verify {copy}  # what every reader of it can check: all seeds follow from the secret",
            f"metaloop contest serve {name}  # the pages to share: /, and /card.svg if an entry won",
        ]
    return [f"metaloop contest close {name}"] if is_waiting(contest) else []


def entry_name(row: Mapping[str, Any]) -> str:
    """The name of the entry of a row that the host sent."""
    return STOCK.get(row.get("role", "")) or entry_label(row["entrant"], row["name"])


def board_row(row: Mapping[str, Any], result: str | None) -> Row:
    """A row of the leaderboard; an entry without a measured run has its name, state and ``result`` alone."""
    return {
        "rank": ranks(row["rank_low"], row["rank_high"]) if "rank_low" in row else None,
        "entry": entry_name(row),
        **{key: row.get(key) for key in ("gain", "low", "high", "claimed")},
        "runs": row.get("n"),
        "device_seconds_charged": row.get("device_seconds_charged"),
        "state": state_label(row["state"]) if "state" in row else None,
        "entry_id": row.get("entry_id"),
        "result": result,
    }


def own_row(entry: Mapping[str, Any]) -> Row:
    """An entry of the viewer, with what became of it in the decision."""
    return {
        **{key: entry[key] for key in ("number", "entry_id")},
        "name": entry_name(entry),
        "state": state_label(entry["state"]),
        "runs": entry["runs_done"],
        "result": own_result(entry),
    }
