"""Exports the views of a study as files for other tools."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.study import VIEWS, read_study
from programs.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    import duckdb

Format = Literal["tsv", "csv", "parquet", "jsonl"]
FORMATS = {
    "tsv": "FORMAT csv, DELIMITER '\t', HEADER",
    "csv": "FORMAT csv, HEADER",
    "parquet": "FORMAT parquet",
    "jsonl": "FORMAT json",
}


def export(path: Path | str, folder: Path | str, to: Format, views: Sequence[str] = VIEWS) -> list[Path]:
    """Writes the views of the study at ``path`` into ``folder`` (created), a file ``<view>.<to>`` each; their paths.

    Lists and objects are JSON text in tsv and csv. Raises UsageError for an unknown format or view, else as read_study.
    """
    with read_study(path, views=views) as con:
        return [write(con, view, Path(folder) / f"{view}.{to}", to) for view in views]


def write(con: duckdb.DuckDBPyConnection, view: str, target: Path, to: Format) -> Path:
    """Writes one view of an open study to the file ``target``, atomically; creates the folder, replaces an old file.

    Raises UsageError for an unknown format or view, EnvironmentProblem if it cannot write.
    """
    import duckdb

    if to not in FORMATS:
        raise UsageError(f"unknown format {to!r}", hint=f"formats: {', '.join(FORMATS)}")
    if view not in VIEWS:
        raise UsageError(f"no view {view!r}", hint=f"views: {', '.join(VIEWS)}")
    if target.exists() and not target.is_file():  # write to a pipe or a device, never replace it
        return _write_through(con, view, target, to)
    partial = target.with_name(f".{target.name}.partial")
    name = str(partial).replace("'", "''")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        con.execute(f"COPY (SELECT {_columns(con, view, to)} FROM {view}) TO '{name}' ({FORMATS[to]})")
        partial.replace(target)
    except duckdb.IOException as error:
        problem = " ".join(str(error).split())
        raise EnvironmentProblem(f"{target}: {problem}", hint="free some space or choose another folder") from error
    except OSError as error:
        hint = "name a folder that can be written"
        raise EnvironmentProblem(f"{target}: {error.strerror}", hint=hint) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return target


def _write_through(con: duckdb.DuckDBPyConnection, view: str, target: Path, to: Format) -> Path:
    try:
        with tempfile.TemporaryDirectory(prefix="metaloop-export-") as folder, target.open("wb") as device:
            device.write(write(con, view, Path(folder) / "view", to).read_bytes())
    except OSError as error:
        hint = "name a file that can be written"
        raise EnvironmentProblem(f"{target}: {error.strerror}", hint=hint) from error
    return target


def _columns(con: duckdb.DuckDBPyConnection, view: str, to: Format) -> str:
    """The select list: text formats have lists as JSON, so that any reader can parse them."""
    columns = [(name, str(kind)) for name, kind, *_ in con.execute(f"DESCRIBE {view}").fetchall()]
    text = to in ("tsv", "csv")
    return ", ".join(
        f'to_json("{name}")::VARCHAR AS "{name}"' if text and kind.endswith("[]") else f'"{name}"'
        for name, kind in columns
    )
