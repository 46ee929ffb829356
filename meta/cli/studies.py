"""``metaloop ls``: the studies of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from analysis.wording import many, plain_text
from arena.study.lock import is_taken
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.options import argument
from meta.cli.output import Column, Output
from meta.ui.imported import ImportStatus, is_import
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus
from programs.common.errors import NotFound, OtherVersion

MB, BLOCK = 1 << 20, 512  # bytes; that of st_blocks


def minute_text(at: str | None) -> str:
    """``2026-11-25 03:51`` in UTC."""
    return (at or "-")[:16].replace("T", " ")


def megabytes_text(size: float) -> str:
    return f"{size:.0f}" if size >= 1 else "<1"


STUDIES = (
    Column("study", style="bold"),
    Column("state"),
    Column("task", wrap=True),
    Column("lead", wrap=True),
    Column("experiments", "exper.", right=True),
    Column("mb", "MB", right=True, show=megabytes_text),
    Column("last_event_at", "last", style="dim", show=minute_text),
    Column("champion", person=False),
)


@verb(
    ("metaloop ls", "the studies below the current folder, as in metaloop ui"),
    ("metaloop ls ~/work --json", "those of another folder, for a script"),
)
def ls(out: Output, folder: Annotated[str | None, argument(metavar="[FOLDER]", required=False)]) -> None:
    """List the studies in a folder and below it, newest first: state, task, the champion's lead over stock,
    experiments, size on disk."""
    root = Path(folder or ".").expanduser()
    if folder and not root.is_dir():
        raise NotFound(f"{folder} is not a folder", hint="name the folder with your studies")
    newest = sorted(
        {*resolve.studies_below(root), *resolve.studies_in(root)},
        key=lambda path: -(path / resolve.MARK).stat().st_mtime,
    )
    rows = [list_row(path, out) for path in newest]
    size = sum(row["mb"] for row in rows)
    if out.mode == "person":
        rows = [{**row, "study": os.path.relpath(row["study"], root)} for row in rows]
    out.rows(rows, STUDIES, empty=f"no study under {root.absolute()}/")
    if rows:
        out.note(f"{many(len(rows), 'study')}, {megabytes_text(size)} MB; metaloop ui shows them")


def list_row(folder: Path, out: Output) -> dict[str, Any]:
    """A study in the list; of one that cannot be read, that it is damaged, with a warning why. ``mb``: MB of 2^20 bytes
    that its files take on the disk."""
    nothing = {**dict.fromkeys(column.key for column in STUDIES), "lead": "-"}
    try:
        files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return nothing | status_cells(folder) | {"mb": sum(file.st_blocks for file in files) * BLOCK / MB}
    except Exception as error:  # whatever is in a study of someone else, the others are listed
        out.warn(f"{folder} is damaged: {getattr(error, 'message', None) or type(error).__name__}")
        return nothing | {"study": str(folder), "state": "damaged", "experiments": 0, "mb": 0.0}


def status_cells(folder: Path) -> dict[str, Any]:
    """The status of a study and the result of its announced test; of a study that another version of metaloop made,
    that alone."""
    if is_import(folder):
        imported = ImportStatus(folder)
        return imported.record() | {"lead": plain_text(imported.found.summary)}
    study = LiveStudy(folder)
    try:
        study.refresh()
    except OtherVersion:
        return StudyStatus(LiveStudy(folder), False).record() | {"state": "other version"}
    status = StudyStatus(study, is_taken(folder))
    return status.record() | {
        "task": next(iter(status.tasks), None),
        "champion": study.name(status.champion) if status.champion else None,
        "lead": plain_text(status.found.summary) if status.found else "-",
    }
