"""``metaloop ls``: the studies of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from analysis.wording import many, plain_text
from meta.cli import resolve
from meta.cli.board import listed_board
from meta.cli.options import argument, verb
from meta.cli.output import Column, Output, Row, now
from meta.cli.status import item_of
from programs.errors import NotFound

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
    items = [_item(path, out) for path in newest]
    names = distinct([str(one["study"]) for one in items]) if out.mode == "person" else {}
    rows = [{**one, "study": names.get(str(one["study"]), one["study"])} for one in items]
    rows = rows if out.mode == "json" else [{**one, "verdict": one["lead"]} for one in rows]  # the whole is too long
    out.rows(rows, STUDIES, empty=resolve.none_under(root))
    if items:
        size = sum(float(str(one["mb"])) for one in items)
        out.note(f"{many(len(items), 'study')}, {megabytes(size)} MB; metaloop ui shows them")


def _item(folder: Path, out: Output) -> Row:
    """What the list says of one study; of one that cannot be read, that it is damaged, with a warning why."""
    try:
        return item(folder)
    except Exception as error:  # whatever is in a study of someone else, the others are listed
        out.warn(f"{folder} is damaged: {getattr(error, 'message', None) or type(error).__name__}")
        nothing: Row = {column.key: None for column in STUDIES}
        return {**nothing, "study": str(folder), "state": "damaged", "experiments": 0, "mb": 0.0, "lead": "-"}


def item(folder: Path) -> Row:
    """What the list says of one study. ``ratio``: the champion's gain over that of the program ``against`` which it was
    tested; ``mb``: MB of 2^20 bytes that its files take on the disk."""
    from analysis.verdict.verdict import decided

    board = listed_board(folder)
    known, _ = item_of(board, folder)
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    event, decision = board.champion, board.decision
    tested, said = decision.tested if decision else None, decided(decision) if decision else None
    first = next(iter(board.matches.values()), None)  # held-out tasks come last
    return {
        **known,
        "task": first.event.get("task") if first else known["task"],
        "lead": plain_text(said.lead or "not shown") if said else "-",
        "champion": board.name(event["program_id"]) if event and event.get("program_id") else None,
        "ratio": tested.ratio if tested else None,
        "against": tested.name if tested else None,
        "verdict": plain_text(" ".join(said.sentences)) if said else "",
        "mb": sum(one.st_blocks for one in files) * BLOCK / MB,
        "files": len(files),
    }
