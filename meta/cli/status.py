"""``metaloop status`` and ``metaloop stop``: show the progress of a study, and let it drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag, verb
from meta.cli.output import Column, Output, now
from meta.cli.screen import screen
from meta.cli.studies import item
from meta.live import LiveStudy
from meta.live_rows import arm_rows, remaining, status_row

if TYPE_CHECKING:
    from rich.console import RenderableType

EVERY_SECONDS = 2.0
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
    """Show what a study is doing: the match and its programs, device time, the last kept edits."""
    if all:
        rows = [item(path, out) for path in resolve.known_studies()]
        out.rows(rows, STUDIES, empty=resolve.none_under(resolve.STUDIES))
        return
    folder = resolve.study_folder(study, out)
    live = LiveStudy.read(folder)
    if watch:
        _watch(out, live)
    else:
        present(out, live)


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


def present(out: Output, study: LiveStudy) -> None:
    """The state of a study as it is now; of an import the counts of its logs, and these alone."""
    row, match = status_row(study, is_taken(study.folder)), study.current
    if out.mode == "json":
        out.json({**row, "arms": arm_rows(study, match) if match else []})
    elif out.mode == "plain":
        out.thing(row)
    elif study.is_import:
        name, counts = resolve.shown(study.folder), study.imported
        out.text(f"{name}: {many(counts['logs'], 'imported log')}; nothing was run here")
        out.thing(counts)
        out.next(f"metaloop report {name}")
    else:
        out.show(_screen(study, out.console.width))


def _screen(study: LiveStudy, width: int) -> RenderableType:
    at_work = is_taken(study.folder)
    state, work = status_row(study, at_work)["state"], remaining(study) if at_work else None
    return screen(
        study,
        f"{study.folder}  {state}",
        width=width,
        plan={"runs": work.runs} if work else {},
        left=work.left if work else "",
        now=now() if at_work else "",
    )


def _watch(out: Output, study: LiveStudy) -> None:
    from rich.live import Live

    with Live(console=out.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            at_work = is_taken(study.folder)
            study.refresh()
            if out.mode == "person":
                live.update(_screen(study, out.console.width), refresh=True)
            else:
                present(out, study)
            if not at_work:
                return
            time.sleep(EVERY_SECONDS)
