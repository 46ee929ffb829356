"""Ctrl-C once drains, twice kills; `metaloop stop` drains from another terminal."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from arena.executor import Progress
from arena.sandbox import FLAG
from arena.study import Study
from programs.errors import CapReached


class Drained(CapReached):
    """The study was asked to stop and did: every finished experiment stands, the rest can go on."""

    exit_code = 130


def drained(study: Study) -> Drained:
    unsafe = "" if study.config.sandbox else f" {FLAG}"
    return Drained(
        f"stopped on request: {study.folder} can go on",
        hint=f"metaloop evolve --resume {shlex.quote(str(study.folder))}{unsafe}"
        if study.config.command in ("evolve", "improve")
        else "type the same command again",
    )


@contextmanager
def drain_on_interrupt(study: Study, _progress: Progress) -> Iterator[None]:
    """Turn the first SIGINT into a stop request; the second one is a KeyboardInterrupt.

    The handler shows nothing: it may have cut into the very code that draws, or into its import. What it did is
    told by the executor, which notices the request.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        study.request_stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
