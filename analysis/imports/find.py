"""Finds the logs for a user's paths (files, folders to search, repositories) and marks duplicates."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.imports.layout import from_cells, is_header
from analysis.imports.text import UnreadableLog, decode, is_log, lines, read_bytes

MOST_ENTRIES = 300_000  # of the folders searched
MOST_LOGS = 20_000
DEEPEST = 12
OWN = "study.toml"  # in a folder that Metaloop wrote, whose tables are no logs of a loop
SNIFFED = 20  # lines of a table that is not named like a log
HEAD = 4096  # first bytes, compared before whole files
LEAST_LINES = 3  # of a log that can count as the beginning of another
_SKIPPED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", "site-packages", ".tox", ".cache"})


@dataclass(frozen=True)
class LogFile:
    """A log to read. ``label``: its path for messages; ``ref``: the commit that contains it, empty for a file."""

    path: Path
    label: str
    repository: Path | None = None
    ref: str = ""
    searched: bool = False  # from a folder search, not named by the user
    size: int = 0
    digest: str = ""
    reason: str = ""  # why it cannot be read
    duplicate_of: str = ""  # digest of the log that contains all its rows

    @property
    def name(self) -> str:
        """The display name: its own name, or its folder if the name is generic."""
        stem = self.path.stem
        plain = stem.lower() in ("results", "result", "experiments", "log", "history")
        folder = (self.repository or self.path.absolute().parent).name
        return (folder or stem) if plain else stem


def find(paths: Sequence[Path]) -> list[LogFile]:
    """Every log for these paths, in a fixed order; unreadable logs and duplicates are marked.

    A path that does not exist is marked too, so that it does not stop the others.
    """
    seen: set[Path] = set()
    logs: list[LogFile] = []
    for path in paths:
        for item in _of(path):
            key = item.path.absolute() / item.ref
            if key not in seen:
                seen.add(key)
                logs.append(item)
        if len(logs) > MOST_LOGS:
            raise UnreadableLog(f"more than {MOST_LOGS:,} logs")
    return _without_copies([_looked_at(item) for item in logs])


def _of(path: Path) -> Iterator[LogFile]:
    if not path.is_dir():
        yield LogFile(path, str(path), _repository(path.absolute().parent))
        return
    logs = list(_search(path))
    yield from logs
    repository = _repository(path.absolute(), above=False)
    if repository is not None and not any(item.repository == repository for item in logs):
        yield from _in_history(repository, path)


def _search(root: Path) -> Iterator[LogFile]:
    """Files below a folder with names of logs, and tables with columns of logs. It follows no links, and the search is
    bounded."""
    entries = 0
    base = len(root.parts)
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        entries += len(folders) + len(files)
        if entries > MOST_ENTRIES:
            raise UnreadableLog(f"{root}: more than {MOST_ENTRIES:,} files to search")
        deep = len(here.parts) - base >= DEEPEST
        if OWN in files:
            folders[:] = []
            continue
        folders[:] = [] if deep else sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = here / name
            if not path.is_symlink() and (is_log(name) or _has_log_columns(path)):
                yield LogFile(path, str(path), _repository(here.absolute()), searched=True)


def _has_log_columns(path: Path) -> bool:
    """Whether a table begins with a header of a log, or without one with rows of results."""
    if path.suffix.lower() not in (".tsv", ".csv", ".jsonl") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            rows = lines(decode(file.read(HEAD)))[:SNIFFED]
        if path.suffix.lower() == ".jsonl":
            first = json.loads(rows[0]) if rows else None
            return isinstance(first, dict) and is_header(list(first))
        cells = list(csv.reader(rows, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    except (OSError, UnreadableLog, ValueError, RecursionError, csv.Error):
        return False
    return bool(cells) and (is_header(cells[0]) or from_cells(cells[:-1]) is not None)


def _in_history(repository: Path, path: Path) -> Iterator[LogFile]:
    """Logs that exist only on a branch of a repository."""
    from analysis.imports.repository import logs_in_branches

    for name, ref in logs_in_branches(repository):
        yield LogFile(Path(name), f"{path}@{ref[:12]}:{name}", repository, ref, searched=True)


def _repository(folder: Path, above: bool = True) -> Path | None:
    """The repository of a folder: its work tree, or the folder of a bare one."""
    for parent in (folder, *folder.parents) if above else (folder,):
        if (parent / ".git").exists() or ((parent / "HEAD").is_file() and (parent / "objects").is_dir()):
            return parent
    return None


def contents(log: LogFile) -> bytes:
    """The bytes of a log. Raises UnreadableLog if it cannot be read."""
    if log.ref and log.repository is not None:
        from analysis.imports.repository import file_at

        return file_at(log.repository, log.ref, str(log.path))
    return read_bytes(log.path)


def _looked_at(log: LogFile) -> LogFile:
    try:
        data = contents(log)
    except UnreadableLog as error:
        return replace(log, reason=str(error))
    return replace(log, size=len(data), digest=hashlib.sha256(data).hexdigest())


def _without_copies(logs: list[LogFile]) -> list[LogFile]:
    """Marks logs that equal another one, or are the beginning of one (an earlier state)."""
    first: dict[str, int] = {}
    for index, item in enumerate(logs):
        if item.digest and not item.reason:
            first.setdefault(item.digest, index)
    whole = {index: head for index in first.values() if (head := _head(logs[index]))}
    longer = _beginnings(logs, whole)
    out = []
    for index, item in enumerate(logs):
        if item.reason or not item.digest:
            out.append(item)
            continue
        last = first[item.digest]
        while last in longer:
            last = longer[last]
        out.append(item if last == index else replace(item, duplicate_of=logs[last].digest))
    return out


def _head(item: LogFile) -> bytes:
    try:
        return contents(item)[:HEAD]
    except UnreadableLog:
        return b""


def _beginnings(logs: Sequence[LogFile], heads: dict[int, bytes]) -> dict[int, int]:
    """index of a log → index of one that begins with all of it. In sorted order it follows directly."""
    order = sorted(heads, key=lambda index: (heads[index], logs[index].size))
    longer: dict[int, int] = {}
    for k, index in enumerate(order):
        short = heads[index].rstrip()
        if short.count(b"\n") + 1 < LEAST_LINES:
            continue
        for other in order[k + 1 :]:
            if not heads[other].startswith(short if logs[index].size <= HEAD else heads[index]):
                break
            if _begins(logs[other], logs[index]) and logs[other].size > logs[longer.get(index, index)].size:
                longer[index] = other
    return longer


def _begins(long: LogFile, short: LogFile) -> bool:
    """Whether one log's lines are the first lines of the other."""
    if long.size <= short.size:
        return False
    try:
        whole, part = contents(long), contents(short).rstrip()
    except UnreadableLog:
        return False
    return whole.startswith(part) and whole[len(part) : len(part) + 1] in (b"\n", b"\r")
