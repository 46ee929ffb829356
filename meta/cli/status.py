"""``metaloop status`` and ``metaloop stop``: show the progress of a study, and let it drain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from analysis.wording import many
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.board import StudyView, listed_board, load_board
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag, verb
from meta.cli.output import Column, Output, Row, now
from meta.cli.screen import arm_rows, screen, status_item

if TYPE_CHECKING:
    from rich.console import RenderableType

    from meta.planned_work import PlannedWork
    from meta.window.planned import RemainingWork

EVERY_SECONDS = 2.0
IMPORTED = """
SELECT count(DISTINCT path) AS logs, coalesce(sum("rows"), 0)::BIGINT AS experiments,
    coalesce(sum(tried), 0)::BIGINT AS tried, coalesce(sum(kept), 0)::BIGINT AS kept,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined
FROM imports
"""
STUDIES = (
    Column("study", style="bold", show=lambda folder: str(folder).removeprefix("studies/")),
    Column("state"),
    Column("task"),
    Column("runs_finished", "runs", right=True),
    Column("experiments", right=True),
    Column("last_event_at", "last event", style="dim", show=lambda at: str(at)[:19].replace("T", " ")),
)


@verb(
    ("metaloop status", "the newest study under studies/"),
    ("metaloop status studies/NAME --watch", "updated until it ends"),
    ("metaloop status --all", "every study, one line each"),
)
def status(
    out: Output,
    study: AnyStudy,
    watch: Annotated[bool, flag("Update until the study ends; with --json one line per update.")],
    all: Annotated[bool, flag("Every study under studies/.")],
) -> None:
    """Show what a study is doing: the match and its programs, device time, the last kept edits.
    Of a shared project: its blocks and programs."""
    if all:
        items = [item_of(listed_board(path), path)[0] for path in resolve.known_studies()]
        out.rows(items, STUDIES, empty=resolve.none_under(resolve.STUDIES))
        return
    folder = resolve.study_folder(study, out)
    if (folder / "home.sqlite").is_file():
        from meta.cli import home

        home.show(out, folder)
    elif watch:
        _watch(out, folder)
    else:
        _once(out, folder, load_board(folder)[0])


@verb(
    ("metaloop stop studies/NAME", "finish the running experiments, then stop"),
    ("metaloop evolve --resume studies/NAME", "resume it later"),
)
def stop(out: Output, study: Annotated[str, argument()]) -> None:
    """Stop a running study: experiments in progress are finished and kept, and no
    new ones start. The study can be resumed."""
    from arena.study import Study

    folder = resolve.study_folder(study, out)
    at_work = is_taken(folder)
    if at_work:
        Study.open(folder).request_stop()
    out.note("draining; metaloop status shows when it has stopped" if at_work else "the study is not running")
    if out.mode == "json":
        out.json({"study": str(folder), "stop_requested": at_work})


def _left(board: StudyView) -> RemainingWork | None:
    from meta.window.planned import expected

    return expected(board)


def _screen(board: StudyView, folder: Path, width: int) -> RenderableType:
    state = "running" if (at_work := is_taken(folder)) else str(status_item(board, "", False)["state"])
    work = _left(board) if at_work else None
    plan: PlannedWork = {"runs": work.runs} if work else {}
    return screen(
        board,
        f"{folder}  {state}",
        width=width,
        plan=plan,
        left=work.left if work else "",
        now=now() if at_work else "",
    )


class ImportCounts(TypedDict):
    logs: int
    experiments: int
    tried: int
    kept: int
    quarantined: int


def item_of(board: StudyView, folder: Path) -> tuple[Row, ImportCounts | None]:
    """The state of a study as one JSON object; for an import, with the counts of its logs, and these alone."""
    item = status_item(board, str(folder), is_taken(folder))
    work = _left(board) if item["purpose"] != "import" else None
    seconds = 0.0 if item["state"] == "finished" else work.seconds_left if work else None
    left: Row = {"runs_planned": work.runs if work else None, "seconds_left": seconds}
    item = {**item, **left}
    if item["purpose"] != "import":
        return item, None
    with resolve.connect(folder, []) as con:
        (read,) = resolve.fetch_as(con, ImportCounts, IMPORTED)
    nothing = dict.fromkeys(("device_seconds_charged", "runs_finished", "runs_running", "runs_unfinished"))
    return {**item, **nothing, "state": "imported", **read}, read


def _imported(out: Output, counts: ImportCounts, name: str) -> None:
    """Show an import at a terminal."""
    from rich.text import Text

    kept = f"{counts['kept']} of {many(counts['tried'], 'try')} kept"
    aside = f"{many(counts['quarantined'], 'line')} set aside"
    out.show(Text(f"{name}: {many(counts['logs'], 'imported log')}; nothing was run here", style="bold"))
    out.show(Text(f"{many(counts['experiments'], 'experiment')}, {kept}, {aside}"))
    out.next(f"metaloop report {name}")


def _once(out: Output, folder: Path, board: StudyView) -> None:
    item, imported = item_of(board, folder)
    if imported and out.mode == "person":
        _imported(out, imported, resolve.shown(folder))
        return
    match = board.current
    arms = arm_rows(board, match) if match and not imported else []
    if out.mode == "json":
        out.json({**item, "arms": arms})
    elif out.mode == "plain":
        out.thing(item)
    else:
        out.show(_screen(board, folder, out.console.width))


def _watch(out: Output, folder: Path) -> None:
    board, tail = load_board(folder)
    if out.mode != "person":
        while True:
            _once(out, folder, board)
            if not is_taken(folder):
                return
            time.sleep(EVERY_SECONDS)
            for event in tail.fresh():
                board.take(event)
    from rich.live import Live

    console = out.console
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            at_work = is_taken(folder)
            live.update(_screen(board, folder, console.width), refresh=True)
            if not at_work:
                return
            time.sleep(EVERY_SECONDS)
            for event in tail.fresh():
                board.take(event)
