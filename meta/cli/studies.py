"""``metaloop ls``: the studies of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from analysis.wording import many, plain_text
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.options import argument
from meta.cli.output import Column, Output, now
from meta.ui.live import LiveStudy
from meta.ui.live_rows import status_row
from programs.errors import NotFound, OtherVersion

MB, BLOCK = 1 << 20, 512  # bytes; that of st_blocks


def last(at: str) -> str:
    """``11-25 03:51`` in UTC; of another year only the date."""
    return at[5:16].replace("T", " ") if at[:4] == now()[:4] else at[:10]


def megabytes(size: float) -> str:
    return f"{size:.0f}" if size >= 1 else "<1"


def distinct(folders: Sequence[str]) -> dict[str, str]:
    """folder → its name, and its path where two folders have the same name."""
    names = {folder: Path(folder).resolve().name for folder in folders}
    counts = Counter(names.values())
    return {folder: name if counts[name] == 1 else folder for folder, name in names.items()}


STUDIES = (
    Column("study", style="bold"),
    Column("state"),
    Column("task", wrap=True),
    Column("lead", wrap=True),
    Column("experiments", "exper.", right=True),
    Column("mb", "MB", right=True, show=lambda size: megabytes(float(str(size)))),
    Column("last_event_at", "last", style="dim", show=lambda at: last(str(at or "-"))),
    *(Column(key, person=False) for key in ("ratio", "against", "files", "verdict", "champion")),
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
    items = [item(path, out) for path in newest]
    names = distinct([one["study"] for one in items]) if out.mode == "person" else {}
    rows = [{**one, "study": names.get(one["study"], one["study"])} for one in items]
    rows = rows if out.mode == "json" else [{**one, "verdict": one["lead"]} for one in rows]  # the whole is too long
    out.rows(rows, STUDIES, empty=resolve.none_under(root))
    if items:
        out.note(
            f"{many(len(items), 'study')}, {megabytes(sum(one['mb'] for one in items))} MB; metaloop ui shows them"
        )


def item(folder: Path, out: Output) -> dict[str, Any]:
    """What the list says of one study; of one that cannot be read, that it is damaged, with a warning why. ``mb``: MB
    of 2^20 bytes that its files take on the disk."""
    try:
        row = _row(folder)
        files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {**row, "mb": sum(one.st_blocks for one in files) * BLOCK / MB, "files": len(files)}
    except Exception as error:  # whatever is in a study of someone else, the others are listed
        out.warn(f"{folder} is damaged: {getattr(error, 'message', None) or type(error).__name__}")
        nothing = {column.key: None for column in STUDIES}
        return {**nothing, "study": str(folder), "state": "damaged", "experiments": 0, "mb": 0.0, "lead": "-"}


def _row(folder: Path) -> dict[str, Any]:
    """The state of a study and the result of its announced test; of a study that another version of metaloop made, that
    alone. ``ratio``: the champion's gain over that of the program ``against`` which it was tested."""
    study, other = LiveStudy(folder), {}
    try:
        study.refresh()
    except OtherVersion:
        study, other = LiveStudy(folder), {"state": "other version"}
    at_work = is_taken(folder)
    row, first = status_row(study, at_work), next(iter(study.matches.values()), None)
    row |= {"task": first.task if first else None, "lead": "-", "ratio": None, "against": None, "verdict": "", **other}
    row["champion"] = study.name(row["champion"]) if row["champion"] else None
    if not other and (found := study.verdict(at_work)) is not None:
        row |= {"lead": plain_text(found.summary), "verdict": plain_text(" ".join(found.sentences))}
    if (decision := study.decision) is not None:
        row |= {"ratio": decision.tested.ratio, "against": decision.tested.name}
    return row
