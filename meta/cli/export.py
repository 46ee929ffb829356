"""``metaloop export``: a view of a study as a file, or on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meta.cli import resolve
from meta.cli.options import flag, study_argument, study_flag, verb
from meta.cli.output import Output
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

FORMATS = ("tsv", "csv", "parquet", "jsonl")


@verb(
    ("metaloop export studies/NAME --to csv > runs.csv", "the runs"),
    ("metaloop export studies/NAME --to parquet --view experiments -o exp.parquet", "every experiment"),
    ("metaloop export studies/NAME --to jsonl --view all -o tables/", "every view, a file each"),
    flags=[
        study_argument,
        study_flag,
        flag("--to", type=click.Choice(FORMATS), default="tsv", show_default=True, help="Format."),
        flag("--view", default="runs", show_default=True, metavar="NAME|all", help="Which view."),
        flag("-o", "--output", metavar="PATH", help="File, or folder for all  [default: stdout]."),
    ],
)
def export(
    out: Output, study: str | None, to: str, view: str, output: str | None, **given: str | None
) -> None:
    """Write a view of a study as tsv, csv, parquet or jsonl."""
    from analysis.study import VIEWS

    folder = resolve.study_folder(study, out, option=given["study_option"])
    if view != "all" and view not in VIEWS:
        raise NotFound(f"no view {view!r}", hint=f"views: {', '.join(VIEWS)}")
    target = Path(output).expanduser() if output else None
    with resolve.connect(folder) as con:
        if view == "all":
            written = _export_all(con, target, to)
        elif target is None:
            _to_stdout(con, view, to, out)
            return
        else:
            written = [_to_file(con, view, to, target)]
    for item in written:
        out.note(f"wrote {item['path']} ({item['rows']} rows)")
    if out.mode == "json":
        out.json({"written": written})
