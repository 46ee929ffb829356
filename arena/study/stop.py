"""Ctrl-C once drains, twice kills; `metaloop stop` drains from another terminal."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from arena.study.lock import request_stop
from arena.study.study import Study
from arena.work.executor import Progress
from programs.common.errors import CapReached
from trainer.sandbox import flag


class Drained(CapReached):
    """The study stopped on request. All finished experiments are recorded, and it can be resumed."""

    exit_code = 130


def drained(study: Study) -> Drained:
    resume = f"metaloop resume {shlex.quote(str(study.folder))}{flag(study.config.sandbox)}"
    served = study.config.kind in ("contest", "home")
    return Drained(
        f"stopped on request: {study.folder.name} can be resumed",
        hint="type the same command again" if served else resume,
    )


@contextmanager
def drain_on_interrupt(study: Study, _progress: Progress) -> Iterator[None]:
    """Turn the first SIGINT into a stop request; the second one is a KeyboardInterrupt.

    The handler prints nothing, because it may have interrupted the code that draws or its import. The executor
    notices the request and reports it.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        request_stop(study.folder)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
