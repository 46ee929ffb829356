"""``metaloop status`` and ``metaloop stop``: show the progress of a study, and let it drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from arena.lock import is_taken, request_stop
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag
from meta.cli.output import Output, now
from meta.cli.screen import screen
from meta.ui.live import LiveStudy
from meta.ui.live_rows import arm_rows, remaining, status_row

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
    Of a shared project: its blocks and programs."""
    folder = resolve.study_folder(study, out)
    if (folder / "home.sqlite").is_file():
        from meta.cli import home

        home.show(out, folder)
        return
    (_watch if watch else present)(out, LiveStudy.read(folder))


@verb(
    ("metaloop stop studies/NAME", "finish the running experiments, then stop"),
    ("metaloop evolve --resume studies/NAME", "resume it later"),
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
    title = f"{study.folder}  {study.state(at_work)}"
    if not at_work or (work := remaining(study)) is None:
        return screen(study, title, width=width, now=now() if at_work else "")
    return screen(study, title, width=width, plan={"runs": work.runs}, left=work.left, now=now())


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
