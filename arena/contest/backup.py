"""A copy of a contest's folder from which it can go on, made while it is being served.

The database comes first, by SQLite's own backup, then the ledger: what the ledger knows beyond the database is taken
from it when the copy is served. Repositories of runs that had not ended, and what can be computed again, are left out.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from analysis.ledger import check, segments
from analysis.study import query
from arena.contest.settings import DATABASE, MARK, RULES
from arena.run_archive import ARCHIVE, FOLDERS
from programs.errors import Corrupt, UsageError

SETTINGS = (MARK, RULES, "study.toml")


def backup(contest: Path, target: Path) -> int:
    """Write the copy to the new folder ``target``, which only its owner can read; the number of files.

    Raises UsageError where ``target`` exists, Corrupt where the copied ledger has problems.
    """
    if target.exists():
        raise UsageError(f"{target} exists", hint="name a new folder")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    for name in SETTINGS:
        shutil.copy2(contest / name, partial / name)
    _copy_database(contest / DATABASE, partial / DATABASE)
    (partial / "ledger").mkdir(mode=0o700)
    for segment in sorted(segments(contest / "ledger"), key=_newest_first):
        shutil.copy2(segment, partial / "ledger" / segment.name)
    if problems := check(partial / "ledger"):
        shutil.rmtree(partial)
        raise Corrupt(problems[0], hint="the backup was not written; restore the contest from an older one")
    if (contest / ARCHIVE).is_file():
        shutil.copy2(contest / ARCHIVE, partial / ARCHIVE)
    (partial / FOLDERS).mkdir(mode=0o700)
    begun = any((partial / "ledger").iterdir())
    for row in query(partial, "SELECT run_id FROM runs WHERE state = 'finished'") if begun else ():
        source = contest / FOLDERS / str(row["run_id"])
        if source.is_dir():
            shutil.copytree(source, partial / FOLDERS / source.name, symlinks=True)
    partial.rename(target)
    return sum(path.is_file() for path in target.rglob("*"))


def _copy_database(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True) as here, sqlite3.connect(target) as there:
        here.backup(there)
    here.close()
    there.close()


def _newest_first(segment: Path) -> float:
    """A segment names the heads of older ones, so it is copied before them: then all that it names is there."""
    return -segment.stat().st_ctime
