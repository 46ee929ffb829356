"""Progress on stderr: a live screen at a terminal, otherwise plain lines for a log."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.table_cells import usd
from analysis.wording import count, duration, many, number, plain_text, share
from meta.cli.output import Output, clean, fit
from meta.cli.resolve import shown
from meta.cli.screen import screen
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus
from trainer.trust import gain_name

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

LOG_SECONDS = 60.0  # between two lines of a log while a run, such as a whole night, is under way
SLOW_SECONDS = 2.0  # without a line on the screen


@contextmanager
def if_slow(out: Output, text: str) -> Iterator[None]:
    """Say what is going on where it takes long."""
    timer = threading.Timer(SLOW_SECONDS, out.note, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Progress:
    """Shows the progress of a study; pass an instance to the function that runs it, which calls it with events.

    The screen is computed from the ledger, so it includes all workers and the past of a resumed study.
    """

    def __init__(self, out: Output, folder: Path, title: str) -> None:
        self.out = out
        self.title = f"{title}  {shown(folder)}"
        self.study = LiveStudy(folder)
        self.live: Live | None = None
        self.ended = threading.Event()
        self.clock = threading.Thread(target=self._log_until_end, daemon=True)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            # Child processes inherit the real streams, which rich's stand-ins do not offer.
            self.live = Live(
                get_renderable=self.current_screen, console=console, refresh_per_second=1, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self.live.start()
        else:
            self.clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.clock.is_alive():
            self.clock.join()
        if self.live is not None:
            self.live.stop()
            self.live = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = line_of(event)
        if event.get("kind") == "note" or self.live is None:
            self._say(line)

    def _log_until_end(self) -> None:
        while not self.ended.wait(LOG_SECONDS):
            self.log()

    def log(self) -> None:
        """Print how far the runs under way are, and the last kept change; nothing where no experiment ended since."""
        before = self.study.tail.last_at
        self.study.refresh()
        status = StudyStatus(self.study, at_work=True)
        if status.experiments and self.study.tail.last_at != before:
            last = status.kept_changes[-1] if status.kept_changes else "none"
            charged = duration(status.device_seconds_charged)
            self._say(f"{many(status.experiments, 'experiment')}, {charged} charged; the last kept: {last}")

    def current_screen(self) -> RenderableType:
        """Read the new events of the ledger and show the study as it is now."""
        self.study.refresh()
        status = StudyStatus(self.study, at_work=True, with_arms=True)
        return screen(status, self.title, width=self.live.console.width if self.live else 80)

    def _say(self, line: str) -> None:
        line = clean(line, keep="\n")
        if not line:
            return
        if self.live is not None:
            self.live.console.print(line, markup=False)
        else:
            click.echo(line, err=True, color=False)


@contextmanager
def ticker(out: Output, repeated: bool = False) -> Iterator[Callable[[str], None]]:
    """Shows the lines that long work reports: the last one at a terminal, all of them in a log.

    ``repeated``: the result has these lines, too, so that a file or pipe that gets both needs them once.
    """
    if repeated and not sys.stderr.isatty() and os.path.sameopenfile(1, 2):
        yield lambda _line: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True)
        with console.status("starting") as status:
            yield lambda line: status.update(escape(fit(clean(line), console.width - 4)))
    else:
        yield lambda line: click.echo(clean(line), err=True, color=False)


def line_of(event: Mapping[str, Any]) -> str:
    """An event as a line of a log; empty for events that only the screen shows."""
    kind = event.get("kind")
    label = str(event.get("label", ""))
    match = f"match on a held-out task ({label})" if label.startswith("reserve-") else f"match {label}"
    if kind == "match_started":
        return clean(f"{match}: {', '.join(str(arm['name']) for arm in event.get('arms', ()))}")
    if kind == "run_ended":
        return clean(_run_line(event))
    if kind == "match_ended":
        return clean(f"{match} ended")
    return clean(event.get("text", ""))


def _run_line(event: Mapping[str, Any]) -> str:
    """Of models the tokens, the dollars and the share of time in which the device was used."""
    run = event.get("run") or {}
    text = f"run {str(event.get('run_id'))[:7]} {event.get('program')}: "
    if "kept" in run and "experiments" in run:
        tried = max(run["experiments"] - 1 - run.get("repeats", 0), 0)  # without the baseline
        text += f"kept {run['kept']} of {many(tried, 'experiment')}, "
    gain = event.get("gain")
    if gain is None:
        text += str(event.get("state", ""))
    elif run.get("kept") == 0 and run.get("final_metric") == run.get("baseline_metric"):
        text += "its train.py is the untouched script"
    else:
        unit = f" {event['unit']}" if event.get("unit") else ""
        text += f"{gain_name(event.get('trust'))} {plain_text(number(gain, 4, sign=True))}{unit}"
    if run.get("calls"):
        text += f", {count(run.get('tokens'))} tokens, {usd(run.get('usd'))}"
        wall, busy = run.get("wall_seconds"), run.get("experiment_wall_seconds")
        text += f", device used {share(min(busy / wall, 1.0))}" if wall and busy is not None else ""
    return text
