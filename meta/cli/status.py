"""``metaloop status`` and ``metaloop stop``: show the progress of a study, and let it drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from arena.study.lock import is_taken, request_stop
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag
from meta.cli.output import Output
from meta.cli.screen import screen
from meta.ui.imported import ImportStatus, is_import
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

EVERY_SECONDS = 2.0


@verb(
    ("metaloop status", "the newest study under studies/"),
    ("metaloop status studies/NAME --watch", "updated until it ends"),
)
def status(
    out: Output,
    study: AnyStudy,
    watch: Annotated[bool, flag("Update until the study ends; with --json one line per update.")],
) -> None:
    """Show what a study is doing: the match and its programs, device time, the last kept edits.
    Of a shared project: its blocks and proposals."""
    folder = resolve.study_folder(study, out)
    if (folder / "home.sqlite").is_file():
        from meta.cli import home  # loads what trains

        home.show(out, folder)
    elif is_import(folder):
        out.thing(ImportStatus(folder).record())
        out.note(f"nothing was run here; metaloop report {resolve.shown(folder)}")
    elif watch:
        watch_study(out, LiveStudy(folder))
    else:
        show_status(out, read_status(LiveStudy(folder)))


@verb(
    ("metaloop stop studies/NAME", "finish the running experiments, then stop"),
    ("metaloop resume studies/NAME", "resume it later"),
)
def stop(out: Output, study: Annotated[str, argument()]) -> None:
    """Stop a running study: experiments in progress are finished and kept, and no
    new ones start. The study can be resumed."""
    folder = resolve.study_folder(study, out)
    at_work = is_taken(folder)
    if at_work:
        request_stop(folder)
    out.note("draining; metaloop status shows when it has stopped" if at_work else "the study is not running")
    out.json_only({"study": str(folder), "stop_requested": at_work})


def read_status(study: LiveStudy) -> StudyStatus:
    at_work = is_taken(study.folder)
    study.refresh()
    return StudyStatus(study, at_work, with_arms=True)


def show_status(out: Output, status: StudyStatus) -> None:
    if out.mode == "json":
        out.json({**status.record(), "arms": [arm.record() for arm in status.arms]})
    elif out.mode == "plain":
        out.thing(status.record())
    else:
        out.show(status_screen(out, status))


def status_screen(out: Output, status: StudyStatus) -> RenderableType:
    return screen(status, f"{status.study}  {status.state}", width=out.console.width)


def watch_study(out: Output, study: LiveStudy) -> None:
    """Show the status again and again until no process works on the study."""
    from rich.live import Live

    with Live(console=out.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            status = read_status(study)
            if out.mode == "person":
                live.update(status_screen(out, status), refresh=True)
            else:
                show_status(out, status)
            if status.state != "running":
                return
            time.sleep(EVERY_SECONDS)
