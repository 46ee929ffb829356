"""What a command writes to its pipe: how much, and the end of it."""

from __future__ import annotations

import os
import threading
from typing import IO

from trainer.sandbox.launcher import plain

_TAIL_BYTES = 40_000
_END_SECONDS = 10.0


class CommandOutput(threading.Thread):
    """Reads a pipe until all its writers are gone. ``written``: bytes so far."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="command-output", daemon=True)
        self.written = 0
        self.tail = bytearray()
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        with self._pipe as pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                self.written += len(data)
                self.tail += data
                if len(self.tail) > 4 * _TAIL_BYTES:
                    del self.tail[:-_TAIL_BYTES]

    def text(self) -> str:
        """The end of the output, once the writers are gone or have had some seconds for it."""
        self.join(_END_SECONDS)
        return plain(bytes(self.tail[-_TAIL_BYTES:]).decode("utf-8", "replace"))[-_TAIL_BYTES:]
