"""`metaloop contest export`: programs, board, decision and ledger as files for analysis."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.ledger import segments
from analysis.study import VIEWS, read_study
from arena.contest.acts import acts, tainted
from arena.contest.contest import Contest
from arena.contest.disputes import disputes
from arena.contest.settings import BOARD_FILE, MARK, RULES
from arena.contest.standing import whole_board
from arena.contest.tables import ContestEntry, EntryParent
from arena.contest.view_types import BoardView
from arena.contest.views import board_view, contest_view, entry_row, plain
from programs.errors import UsageError

TABLES = ("runs", "experiments", "verifications", "standings", "programs", "directives", "baselines")


class ExportSummary(TypedDict):
    folder: str
    entries: int
    decided: bool


def export(contest: Contest, target: Path) -> ExportSummary:
    """Write everything into the new folder ``target``, except tokens, cookies and keys; nothing stays of a failure."""
    new = not target.exists()
    if not new and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists already", hint="name a new folder with --to")
    try:
        return _write(contest, target)
    except BaseException:
        for path in target.iterdir() if target.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if new and target.is_dir():
            target.rmdir()
        raise


def _write(contest: Contest, target: Path) -> ExportSummary:
    (target / "entries").mkdir(parents=True)
    with contest.database.read() as connection:
        entries = connection.scalars(
            select(ContestEntry).options(undefer(ContestEntry.raw)).order_by(ContestEntry.number)
        ).all()
        parents = {one.number: one.parent for one in connection.scalars(select(EntryParent))}
    for entry in entries:
        (target / "entries" / f"{entry.number:05d}-{plain_name(entry.entrant)}.md").write_bytes(entry.raw)
    _json(target / "entries.json", [{**entry_row(entry), "parent": parents.get(entry.number)} for entry in entries])
    _json(target / "acts.json", acts(contest))
    _json(target / "disputes.json", disputes(contest, most=None))
    about = contest_view(contest)
    _json(target / "contest.json", about)
    marks = tainted(contest, [entry.number for entry in entries])
    board: BoardView = {**board_view(contest), "rows": list(whole_board(contest)), "tainted": marks}
    _json(target / BOARD_FILE, board)
    if board["announcement"]:
        ran = {row["number"] for row in board["announcement"].get("rows", ())}
        marks = [one for one in marks if one["number"] in ran]
        more = {"closed_early": about["closed_early"], "since": board["since"], "tainted": marks}
        _json(target / "announcement.json", {**board["announcement"], **more})
    # With study.toml the folder is a study. It contains the secret, so it is copied only after the decision.
    for name in (MARK, RULES, *(["study.toml"] if board["announcement"] else [])):
        shutil.copyfile(contest.folder / name, target / name)
    if segments(contest.folder / "ledger"):  # none before the first record
        shutil.copytree(contest.folder / "ledger", target / "ledger", ignore=shutil.ignore_patterns("*.partial"))
        _tables(contest, target)
    return {"folder": str(target), "entries": len(entries), "decided": bool(board["announcement"])}


def plain_name(text: str) -> str:
    """A name made safe for use in a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40] or "entry"


def _tables(contest: Contest, target: Path) -> None:
    with read_study(contest.folder, views=[name for name in VIEWS if name in TABLES]) as con:
        for name in TABLES:
            path = str(target / f"{name}.parquet").replace("'", "''")
            con.execute(f"COPY (FROM {name}) TO '{path}' (FORMAT parquet)")


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain(value), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
