"""From what a user types to what is meant: studies by name, programs by path or starter, ids by prefix."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta.cli.output import Output
from programs.errors import Ambiguous, NotComparable, NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

    from programs.program import Program

STUDIES = Path("studies")
MARK, CONTEST = "study.toml", "contest.toml"
SHOWN = 6


def past_study(text: str, out: Output) -> Path:
    """A study that ``--prior`` names. Raises NotFound, which says so."""
    try:
        return study_folder(text, out)
    except NotFound as error:
        raise NotFound(f"--prior {text}: {error.message}", hint="name the folder of a study that has ended") from None


def study_folder(text: str | None, out: Output) -> Path:
    """The folder of a study: a path, a name (or unique prefix) under studies/, or the newest one there."""
    return looked_at(_study_folder(text, out), out)


def looked_at(folder: Path, out: Output) -> Path:
    """The same folder, with a warning where other users of this machine can read the secret in it."""
    from arena.private import exposed

    if told := exposed(folder):
        out.warn(told)
    return folder


def contest_folder(text: str, out: Output) -> Path:
    """The folder of a contest, absolute."""
    return looked_at(Path(text).expanduser().resolve(), out)


def _study_folder(text: str | None, out: Output) -> Path:
    if text is None:
        return _newest(out)
    path = Path(text).expanduser()
    for candidate in (path, STUDIES / text):
        if (candidate / MARK).is_file():
            return candidate
    if (path / CONTEST).is_file():
        raise NotFound(
            f"{path} is of a contest before its decision, and no study yet: {MARK} holds the secret",
            hint="metaloop contest export, once it is decided; until then its *.parquet can be read",
        )
    near = [p for p in known_studies() if p.name.startswith(text)]
    if len(near) == 1:
        return near[0]
    if near:
        names = [p.name for p in near]
        raise Ambiguous(f"{text!r} could be {len(near)} studies", ids=names[:SHOWN], hint="type more of the name")
    what = f"{path} holds no {MARK}" if path.exists() else f"no study {text!r}, here or under {STUDIES}/"
    raise NotFound(what, hint=_study_hint(text))


def listed(text: str | None) -> list[str]:
    """The names of a list with commas; none where it was left out."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def known_studies() -> list[Path]:
    """The studies under ``studies/`` of the current folder, oldest first."""
    found = [p.parent for p in STUDIES.glob(f"*/{MARK}")] if STUDIES.is_dir() else []
    return sorted(found, key=lambda p: (p / MARK).stat().st_mtime)


def fresh_folder(task: str, out: Output) -> Path:
    """``studies/<task>-<date>-<n>`` that does not exist yet; told on stderr."""
    stem = f"{Path(task).name or 'task'}-{datetime.now(UTC):%Y-%m-%d}"
    number = 1
    while (STUDIES / f"{stem}-{number}").exists():
        number += 1
    folder = STUDIES / f"{stem}-{number}"
    out.note(f"study: {folder}")
    return folder


def made_otherwise(what: str, leave_out: str, ids: Sequence[str] = ()) -> NotComparable:
    """For a study that is to go on under settings that it was not made with; ``leave_out``: which flags say so."""
    return NotComparable(what, hint=f"leave {leave_out} out to go on, or name a new folder with --study", ids=ids)


def shown(folder: Path) -> str:
    """A folder as a person would type it: relative where it lies below the current one."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_absolute() and folder.is_relative_to(here) else folder)


def typed(folder: Path) -> str:
    """The same as a word of a command line that is to be copied: quoted where a shell would take it apart."""
    return shlex.quote(shown(folder))


def programs(texts: Sequence[str]) -> list[Program]:
    """Each a path of a .md file (a path wins where it exists) or the name of a library starter."""
    return [one_program(text) for text in texts]


def one_program(text: str) -> Program:
    """The program at a path, or the starter of that name. Raises NotFound with suggestions."""
    from programs import shelf
    from programs.program import Program

    path = Path(text).expanduser()
    if path.is_dir():
        raise UsageError(f"{text} is a folder; a program is one .md file", hint=f"ls {text}/*.md")
    if path.exists():
        return Program.load(path)
    names = list(shelf.names())
    if text in names:
        return shelf.starter(text)
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near and not text.endswith(".md") else "metaloop program ls"
    raise NotFound(f"no file {text!r} and no starter of that name", hint=hint)


def by_prefix(prefix: str, candidates: Iterable[str], what: str = "id") -> str:
    """The one candidate that equals ``prefix`` or starts with it. Raises NotFound, or Ambiguous."""
    found = sorted({c for c in candidates if c.startswith(prefix)})
    if prefix in found:
        return prefix
    if not found:
        raise NotFound(f"no {what} starts with {prefix!r}", hint="metaloop log lists experiments, lineage programs")
    if len(found) > 1:
        raise Ambiguous(f"{prefix!r} could be {len(found)} things", ids=found[:SHOWN], hint="type more of the id")
    return found[0]


def connect(folder: Path, computed: Sequence[str] | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views of a study; ``computed``: only these of the computed ones."""
    from analysis.study import COMPUTED_VIEWS, open_study
    from analysis.tables import SQL_VIEWS

    return open_study(folder, views=(*SQL_VIEWS, *(COMPUTED_VIEWS if computed is None else computed)))


def fetch(con: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows of a query as dicts of values that JSON knows."""
    from analysis.tables import rows

    return rows(con.execute(query, list(parameters)))


def short(identity: object, length: int = 7) -> str:
    """An id as a person reads it; ids given back may be any prefix."""
    return str(identity)[:length]


def _newest(out: Output) -> Path:
    found = known_studies()
    if not found:
        raise NotFound(f"no study under {STUDIES}/ here", hint="name its folder, or start one: metaloop evolve --quick")
    if len(found) > 1:
        out.note(f"study: {found[-1]} (the newest of {len(found)})")
    return found[-1]


def _study_hint(text: str) -> str:
    near = difflib.get_close_matches(Path(text).name, [p.name for p in known_studies()], n=1, cutoff=0.4)
    return f"did you mean {STUDIES / near[0]}?" if near else "start one: metaloop evolve --quick"
