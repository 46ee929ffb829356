"""`metaloop export` of a contest: programs, board, decision and ledger as files, to publish and for analysis."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger import segments
from analysis.wording import many, number, span
from arena.contest.contest import Contest
from arena.contest.entering.acts import acts
from arena.contest.ranking.announced import digits_of, race_result, secret_check, sentences
from arena.contest.ranking.standing import snapshot
from arena.contest.ranking.views import BoardView, ContestView, board_view, contest_view, entry_list
from arena.contest.settings import BOARD_FILE, MARK, RULES
from arena.contest.stored import NamedEntry, arm_label, entry_label
from arena.contest.tables import ContestEntry
from arena.contest.web.card import winners_card
from arena.serving.clock import iso
from programs.common.errors import UsageError
from programs.common.text import one_line

#: What each file is, for README.md.
CONTENTS = {
    "announcement.md": "the decision in words",
    "card.svg": "the result as a picture",
    "rules.md": "the rules; their SHA-256 is in contest.toml",
    "entries": "the programs as they were submitted, by number",
    "ledger": "the log of all results, from which every figure is computed",
    "entries.json": "the entries and their states",
    BOARD_FILE: "the ranking on the pages, with the decision if there is one",
    "announcement.json": "the decision for programs",
    "acts.json": "entries that the host declared void or reinstated, with reasons",
    "contest.json": "task, times and settings, as the pages show them",
    MARK: "the host's settings, with the hashes of secret and rules",
    "study.toml": "the settings of the runs, with the secret",
}


class ExportSummary(TypedDict):
    folder: str
    entries: int
    decided: bool


def export(contest: Contest, target: Path) -> ExportSummary:
    """Write everything into the new folder ``target``, except tokens, cookies and keys; nothing stays of a failure."""
    contest = Contest.open(contest.folder)  # what a process that serves it has read may be some seconds old
    new = not target.exists()
    if not new and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists already", hint="name a new folder with -o")
    try:
        return _write(contest, target)
    except BaseException:
        for path in target.iterdir() if target.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if new and target.is_dir():
            target.rmdir()
        raise


def _write(contest: Contest, target: Path) -> ExportSummary:
    about, board, entries = write_pages(contest, target)
    # With study.toml the folder is a study. It contains the secret, so it is copied only after the decision.
    for name in (MARK, RULES, *(["study.toml"] if board["announcement"] else [])):
        shutil.copyfile(contest.folder / name, target / name)
    if logs := segments(contest.folder / "ledger"):  # none before the first record
        (target / "ledger").mkdir()
        for log in logs:  # without their rights: only the host may read the contest's own, everybody the published ones
            shutil.copyfile(log, target / "ledger" / log.name)
    (target / "README.md").write_text(index(about["title"], target), encoding="utf-8")
    return {"folder": str(target), "entries": entries, "decided": bool(board["announcement"])}


def write_pages(contest: Contest, target: Path) -> tuple[ContestView, BoardView, int]:
    """Write what the pages show: the files that follow from the database; with the number of entries."""
    (target / "entries").mkdir(parents=True)
    with contest.database.read() as connection:
        entries = connection.scalars(
            select(ContestEntry).options(undefer(ContestEntry.raw)).order_by(ContestEntry.number)
        ).all()
    for entry in entries:
        (target / "entries" / text_file(entry.number, entry.entrant)).write_bytes(entry.raw)
    _json(target / "entries.json", entry_list(contest))
    _json(target / "acts.json", acts(contest))
    about = contest_view(contest)
    _json(target / "contest.json", about)
    board: BoardView = {**board_view(contest), "rows": list(snapshot(contest).rows)}
    _json(target / BOARD_FILE, board)
    if board["announcement"]:
        more = {"closed_early": about["closed_early"], "since": board["since"]}
        _json(target / "announcement.json", {**board["announcement"], **more})
        (target / "announcement.md").write_text(announcement_text(about, board), encoding="utf-8")
        if card := winners_card(contest):
            (target / "card.svg").write_text(card, encoding="utf-8")
    return about, board, len(entries)


def index(title: str, target: Path) -> str:
    """What the files of an export are, for who gets it."""
    files = {name: what for name, what in CONTENTS.items() if (target / name).exists()}
    listed = [f"- [{name}]({name}): {what}" for name, what in files.items()]
    check = "`metaloop verify FOLDER` derives all seeds from the secret and computes the announcement again."
    decided = "study.toml" in files
    used = f"{check} `metaloop standings FOLDER` and `metaloop sql FOLDER` read it, as any study." if decided else ""
    note = used or "The contest was not decided when this was written: the secret and the decision are not in it."
    return "\n".join([f"# {one_line(title)}", "", "An export of a contest of programs.", "", *listed, "", note, ""])


def announcement_text(about: ContestView, board: BoardView) -> str:
    """The decision as it is announced, in markdown."""
    announced, early = board["announcement"], about["closed_early"]
    lines = [f"Closed early by the host: {early}"] if early else []
    void = [f"Since the decision the host has declared {_named(act)} void: {act['because']}" for act in board["since"]]
    lines += [*void, *sentences(announced)]
    digits = digits_of(announced) if announced.get("rows") else about["digits"]
    for row in announced.get("rows", ()):
        gain = f"{number(row['gain'], digits)} {announced['unit']}"
        known = f" (95% interval {span(row['low'], row['high'], digits)})" if row["low"] is not None else ""
        how = race_result(row, announced)
        lines.append(f"- {arm_label(row)}: {gain}{known}, {many(row['n'], 'run')}{f'; {how}' if how else ''}")
    for who in (*announced.get("left_out", ()), *announced.get("not_racing", ())):
        lines.append(f"- {_named(who)}: {who['why']}")
    if head := announced.get("ledger_head"):
        lines.append(f"The ledger's head, of all that this follows from: {head['segment']} {head['hash']}")
    lines.append(
        f"Secret: {announced['secret']}. This prints its SHA-256, {announced['secret_hash']}, published at the opening:"
    )
    body = "\n\n".join(one_line(line) for line in [announced["headline"], *lines])
    return f"# {one_line(about['title'])}: the decision\n\n{body}\n\n    {secret_check(announced)}\n"


def _named(who: NamedEntry) -> str:
    return entry_label(who["entrant"], who["name"])


def text_file(number: int, entrant: str) -> str:
    """The name of the file of an entry's text."""
    plain_name = re.sub(r"[^A-Za-z0-9]+", "-", entrant).strip("-")[:40] or "entry"
    return f"{number:05d}-{plain_name}.md"


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, default=iso, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
