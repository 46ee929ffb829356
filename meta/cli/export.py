"""``metaloop export``: a view of a study as a file, or on stdout."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import click

from meta.cli import resolve
from meta.cli.flags import AnyStudy
from meta.cli.options import flag, verb
from meta.cli.output import Output, Row
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    import duckdb

    from analysis.export import Format

FORMATS = ("tsv", "csv", "parquet", "jsonl")


@verb(
    ("metaloop export studies/NAME --to csv > runs.csv", "the runs"),
    ("metaloop export studies/NAME --to jsonl --view all -o tables/", "every view, a file each"),
    ("metaloop export studies/NAME --prose -o program.md", "the champion, for any agent"),
)
def export(
    out: Output,
    study: AnyStudy,
    to: Annotated[str, flag("Format.", type=click.Choice(FORMATS), default="tsv")],
    view: Annotated[str, flag("Which view.", default="runs", metavar="NAME|all")],
    prose: Annotated[bool, flag("The champion (or the program FILE.md), its charter as sentences.")],
    dataset: Annotated[str | None, flag("Instead: outcomes, preferences and traces to learn from.", metavar="DIR")],
    output: Annotated[str | None, flag("File, or folder for all  [default: stdout].", "-o", metavar="PATH")],
) -> None:
    """Write a view of a study as tsv, csv, parquet or jsonl. With --json and -o the
    files written are listed. With --prose: the champion as a program that says in
    sentences what its charter says, for a loop without Metaloop."""
    from analysis.study import VIEWS

    target = Path(output).expanduser() if output else None
    if prose:
        as_prose(out, study, target)
        return
    folder = resolve.study_folder(study, out)
    if dataset is not None:
        to_dataset(out, folder, Path(dataset).expanduser())
        return
    if view != "all" and view not in VIEWS:
        raise NotFound(f"no view {view!r}", hint=f"one of {', '.join(VIEWS)}, or all")
    if target is None and (view == "all" or out.mode == "json"):
        raise UsageError(
            "name a file or folder to write to", hint=f"add -o tables/ to: metaloop export {resolve.typed(folder)}"
        )
    with resolve.connect(folder) as con:
        if target is None:
            to_stdout(con, view, to)
            return
        names = [name for name in VIEWS if name != "events"] if view == "all" else [view]
        places = {name: target / f"{name}.{to}" if view == "all" else target for name in names}
        written = [to_file(con, name, to, place) for name, place in places.items()]
    for item in written:
        out.note(f"wrote {item['path']}, {item['rows']} rows")
    if out.mode == "json":
        out.json({"study": str(folder), "written": written})


def to_dataset(out: Output, folder: Path, target: Path) -> None:
    """The three files of `analysis.dataset`; with --json, or in a pipe, they are listed on stdout."""
    from analysis.dataset import dataset

    written = [{"path": str(path), "rows": count} for path, count in dataset(folder, target).items()]
    for item in written:
        out.note(f"wrote {item['path']}, {item['rows']} rows")
    if out.mode == "json":
        out.json({"study": str(folder), "written": written})


def as_prose(out: Output, study: str | None, target: Path | None) -> None:
    """The champion of a study, or a program by its path, with its charter as sentences."""
    from programs.charter_prose import sentences, with_prose

    given = Path(study).expanduser() if study else None
    if given is not None and given.suffix == ".md":
        program = resolve.one_program(str(given))
    else:
        folder = resolve.study_folder(study, out)
        if not (folder / "champion.md").is_file():
            hint = f"metaloop improve --resume {resolve.typed(folder)}, or name a program: --prose my/program.md"
            raise NotFound(f"{folder}: no champion.md there", hint=hint)
        program = resolve.one_program(str(folder / "champion.md"))
    text = with_prose(program.text)
    said = [{"field": field, "sentence": sentence} for field, sentence in sentences(program.text)]
    if target is not None:
        if target.exists():
            raise UsageError(f"{target}: exists already", hint="name a new file")
        target.write_bytes(text.encode())
        out.note(f"wrote {target}: {len(said)} fields of the charter as sentences")
        if out.mode == "json":
            out.json({"path": str(target), "sentences": said})
        return
    out.text(text, item={"text": text, "sentences": said})


def to_file(con: duckdb.DuckDBPyConnection, view: str, to: str, path: Path) -> Row:
    """Write a view to ``path`` and say what was written."""
    from analysis.export import write

    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file: -o {path}/{view}.{to}")
    write(con, view, path, cast("Format", to))
    ((rows,),) = con.execute(f"SELECT count(*) FROM {view}").fetchall()
    return {"view": view, "format": to, "path": str(path), "rows": rows}


def to_stdout(con: duckdb.DuckDBPyConnection, view: str, to: str) -> None:
    """The same bytes as a file would have; parquet is refused at a terminal."""
    if to == "parquet" and sys.stdout.isatty():
        raise UsageError("parquet is binary", hint="add -o FILE, or send it into a file with >")
    with tempfile.TemporaryDirectory(prefix="metaloop-export-") as folder:
        path = Path(folder) / "view"
        to_file(con, view, to, path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
