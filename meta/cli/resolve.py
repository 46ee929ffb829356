"""Looks up what a user names: studies by folder or name, programs by path or starter, ids by prefix."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.ledger.run_state import StudyState
from analysis.study import COMPUTED_VIEWS, read_study
from analysis.views.tables import rows
from arena.study.private_files import exposed
from meta.cli.output import Output
from programs import folder as program_folders
from programs import shelf
from programs.common.errors import Ambiguous, NotFound, UsageError
from programs.program import Program

if TYPE_CHECKING:
    import duckdb

STUDIES = Path("studies")
DEEPEST = 4  # folders below the one in which studies are looked for
_SKIPPED = {"node_modules", "__pycache__", "site-packages"}
MARK, CONTEST = "study.toml", "contest.toml"
SHOWN = 6
TABLES = {
    "program": "programs",
    "program or statement": "directives",
    "run": "runs",
    "imported run": "imports",
    "match": "matches",
}  # of ids


def study_folder(text: str | None, out: Output) -> Path:
    """The folder of a study: a path, a name (or unique prefix) under studies/, or the newest one there."""
    return looked_at(_study_folder(text, out), out)


def new_path(text: str | Path) -> Path:
    """A path to write to. Raises UsageError where something is: no command overwrites a program or a copy."""
    path = Path(text).expanduser()
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists", hint="name a new file or folder")
    return path


def looked_at(folder: Path, out: Output) -> Path:
    """The same folder, with a warning where other users of this machine can read the secret in it."""
    if warning := exposed(folder):
        out.warn(warning)
    return folder


def contest_folder(text: str, out: Output) -> Path:
    """The folder of a contest, absolute."""
    return looked_at(Path(text).expanduser().resolve(), out)


def existing_study(text: str) -> Path | None:
    """The study at this path, else of this name under studies/; None where there is none."""
    return next((path for path in (Path(text).expanduser(), STUDIES / text) if (path / MARK).is_file()), None)


def _study_folder(text: str | None, out: Output) -> Path:
    if text is None:
        return _newest(out)
    path = Path(text).expanduser()
    if study := existing_study(text):
        return study
    if (path / CONTEST).is_file():
        raise NotFound(
            f"{path} is a contest export from before the decision and has no {MARK}",
            hint="export the contest again after the decision; until then, read its *.parquet",
        )
    near = [p for p in studies_in() if p.name.startswith(text)]
    if len(near) == 1:
        out.note(f"study: {shown(near[0])}")
        return near[0]
    if near:
        names = [p.name for p in near]
        raise Ambiguous(f"{text!r} could be {len(near)} studies", ids=names[:SHOWN], hint="type more of the name")
    what = f"{path} has no {MARK}" if path.exists() else f"no study {text!r}, here or under {STUDIES}/"
    raise NotFound(what, hint=_study_hint(text))


def listed(text: str | None) -> list[str]:
    """The names of a comma-separated list; empty where it was left out."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def studies_in(folder: Path = STUDIES) -> list[Path]:
    """The studies directly in a folder, oldest first."""
    return sorted((p.parent for p in folder.glob(f"*/{MARK}")), key=lambda p: (p / MARK).stat().st_mtime)


def studies_below(root: Path) -> Iterator[Path]:
    """The studies in a folder, it included, and in up to ``DEEPEST`` folders below it."""
    for folder, folders, files in os.walk(root):
        base = Path(folder)
        if MARK in files:
            yield base
        inside = MARK not in files and len(base.parts) - len(root.parts) < DEEPEST
        folders[:] = [n for n in folders if not n.startswith(".") and n not in _SKIPPED] if inside else []


def unused_folder(task: str) -> Path:
    """A new name ``studies/<task>-<date>-<n>``."""
    stem = f"{Path(task).name or 'task'}-{datetime.now(UTC):%Y-%m-%d}"
    number = 1
    while (STUDIES / f"{stem}-{number}").exists():
        number += 1
    return STUDIES / f"{stem}-{number}"


def unused(path: str) -> str:
    """The path, with a number where it exists, as after an earlier export: no command overwrites it."""
    first = Path(path)
    others = (first.with_stem(f"{first.stem}-{number}") for number in count(2))
    return str(next(name for name in chain([first], others) if not name.exists()))


def shown(folder: Path) -> str:
    """A folder as a path to show: relative where it is below the current folder."""
    current = Path.cwd()
    return str(folder.relative_to(current) if folder.is_absolute() and folder.is_relative_to(current) else folder)


def placed(folder: Path) -> str:
    """The same, ``./a`` for one that is directly in the current folder, so that it is seen to be a path."""
    path = shown(folder)
    return path if "/" in path else f"./{path}"


def typed(folder: Path) -> str:
    """The same, quoted for a shell where needed, for command lines to copy."""
    return shlex.quote(shown(folder))


def programs(texts: Sequence[str]) -> list[Program]:
    """The programs at these paths, or the starters of these names; an existing path has priority."""
    return [one_program(text) for text in texts]


def one_program(text: str) -> Program:
    """The program at a path (a file, or a folder with its entry file), or the starter of that name.

    Raises NotFound with suggestions.
    """
    path = program_path(text)
    if path.exists():
        return program_folders.load(path)
    names = list(shelf.names())
    if text in names:
        return shelf.starter(text)
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near and not text.endswith(".md") else "metaloop program"
    raise NotFound(f"no file {text!r} and no starter of that name", hint=hint)


def program_path(text: str) -> Path:
    """The path that a user names; a study's champion.md of several files is the entry file of its folder champion/."""
    path = Path(text).expanduser()
    whole = path.parent / "champion"
    if path.name == "champion.md" and whole.is_dir() and (path.parent / MARK).is_file():
        same = [file for file in sorted(whole.glob("*.md")) if file.read_bytes() == path.read_bytes()]
        return same[0] if same else program_folders.entry_of(whole)
    return path


def program_of_study(study: StudyState, text: str) -> Program:
    """The program of a study with this name or beginning of an id. Raises NotFound."""
    known = {identity: Program.parse(event.text, event.name) for identity, event in study.programs.items()}
    same = [program for program in known.values() if program.name == text]
    return same[0] if len(same) == 1 else known[by_prefix(text, known, "program")]


def by_prefix(prefix: str, candidates: Iterable[str], what: str = "id") -> str:
    """The one candidate that equals ``prefix`` or starts with it. Raises NotFound, or Ambiguous."""
    matches = sorted({c for c in candidates if c.startswith(prefix)})
    if prefix in matches:
        return prefix
    if not matches:
        table = TABLES.get(what, "experiments")
        raise NotFound(f"no {what} starts with {prefix!r}", hint=f"metaloop sql STUDY 'FROM {table}' lists them")
    if len(matches) > 1:
        raise Ambiguous(f"{prefix!r} could be {len(matches)} ids", ids=matches[:SHOWN], hint="type more of the id")
    return matches[0]


def connect(folder: Path, computed: Sequence[str] | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views of a study; ``computed``: which computed views (default: all)."""
    return read_study(folder, views=COMPUTED_VIEWS if computed is None else computed)


def fetch(con: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a query as dicts of JSON values."""
    return rows(con.execute(query, list(parameters)))


def ask(folder: Path, query: str, parameters: Sequence[Any] = (), computed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of one query over a study; see `connect`."""
    with connect(folder, computed) as con:
        return fetch(con, query, parameters)


def short(identity: object) -> str:
    """The start of an id, for display; commands accept any unique prefix."""
    return str(identity)[:7]


def _newest(out: Output) -> Path:
    folders = studies_in()
    if not folders:
        hint = "metaloop ls lists studies of this folder; or start one: metaloop evolve --quick"
        raise NotFound(f"no study under {STUDIES.absolute()}/", hint=hint)
    if len(folders) > 1:
        out.note(f"study: {folders[-1]} (the newest of {len(folders)})")
    return folders[-1]


def _study_hint(text: str) -> str:
    known = [p.name for p in studies_in()]
    if near := difflib.get_close_matches(Path(text).name, known, n=1, cutoff=0.4):
        return f"did you mean {STUDIES / near[0]}?"
    return "metaloop ls lists the studies" if known else "start one: metaloop evolve --quick"
