"""Exports the views of a study as files for other tools, and rows for training a model that writes programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.study import VIEWS, open_study
from analysis.views.tables import quoted, statement
from inner_loop.models.scrub import scrub
from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.text import no_formula, printable

if TYPE_CHECKING:
    import duckdb

Format = Literal["tsv", "csv", "parquet", "jsonl"]
FORMATS = {
    "tsv": "FORMAT csv, DELIMITER '\t', HEADER",
    "csv": "FORMAT csv, HEADER",
    "parquet": "FORMAT parquet",
    "jsonl": "FORMAT json",
}
CELL = "text_of_a_cell"  # a function of the connection
_EXACT = ("BIGINT", "BOOLEAN", "DOUBLE", "INTEGER", "TIMESTAMP")  # types of columns that are written as they are
WRITTEN = "written"  # programs that models wrote, with prompt and outcome
#: Keys by their usual forms, beside the values of this machine's environment variables.
_KEYS = re.compile(
    r"\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}"
    r"|xox[abprs]-[\w-]{10,}|glpat-[\w-]{15,})|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)


def open_written(path: Path | str) -> duckdb.DuckDBPyConnection:
    """The study at ``path`` with the table of ``queries/other/training_rows.sql``. Raises as open_study."""
    con = open_study(path, views=("credit",))
    add_written(con)
    return con


def add_written(con: duckdb.DuckDBPyConnection) -> None:
    con.create_function("clean", clean, ["VARCHAR"], "VARCHAR")
    con.execute(statement("other/training_rows"))


def clean(text: str) -> str:
    """The text without this machine's secrets, and without what looks like a key."""
    return _KEYS.sub("[secret]", scrub(text))


def write(con: duckdb.DuckDBPyConnection, view: str, target: Path, to: Format) -> Path:
    """Writes one view of an open study, or that of WRITTEN, to the file ``target``.

    Creates the folder, replaces an old file only by a whole new one; a pipe or device is written to and stays.
    Raises UsageError for an unknown format or view, EnvironmentProblem if it cannot write.
    """
    import duckdb

    if to not in FORMATS:
        raise UsageError(f"unknown format {to!r}", hint=f"formats: {', '.join(FORMATS)}")
    if view not in (*VIEWS, WRITTEN):
        raise UsageError(f"no view {view!r}", hint=f"views: {', '.join(VIEWS)}")
    whole = not target.exists() or target.is_file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        con.create_function(CELL, lambda text: no_formula(printable(text, "\n\t")), ["VARCHAR"], "VARCHAR")
        what, how = f"SELECT {_columns(con, view, to)} FROM {view}", f"{FORMATS[to]}, USE_TMP_FILE {whole}"
        con.execute(f"COPY ({what}) TO '{quoted(target)}' ({how})")
        con.remove_function(CELL)
    except (OSError, duckdb.IOException) as error:
        problem = " ".join(str(error).split())
        raise EnvironmentProblem(f"{target}: {problem}", hint="free some space or choose another folder") from error
    return target


def _columns(con: duckdb.DuckDBPyConnection, view: str, to: Format) -> str:
    """The select list: text formats have lists as JSON, so that any reader can parse them, no formulas, and nothing
    that moves the cursor of a terminal."""
    columns = [(name, str(kind)) for name, kind, *_ in con.execute(f"DESCRIBE {view}").fetchall()]
    if to not in ("tsv", "csv"):
        return "*"
    forms = {"VARCHAR": f'{CELL}("{{0}}")', **dict.fromkeys(_EXACT, '"{0}"')}
    as_json = f'{CELL}(to_json("{{0}}")::VARCHAR)'
    return ", ".join(f'{forms.get(kind, as_json)} AS "{{0}}"'.format(name) for name, kind in columns)
