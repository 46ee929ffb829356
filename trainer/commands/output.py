"""What a command writes to its pipe: how much, and the end of it."""

from __future__ import annotations

import os
import threading
from typing import IO

from trainer.sandbox.launcher import plain

_TAIL_BYTES = 40_000
_END_SECONDS = 10.0


class CommandOutput(threading.Thread):
    """Reads a pipe, which it takes over, until all its writers are gone. ``written``: bytes so far."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="command-output", daemon=True)
        self.written = 0
        self._tail = bytearray()
        self._descriptor = os.dup(pipe.fileno())
        pipe.close()
        self.start()

    def run(self) -> None:
        try:
            while data := os.read(self._descriptor, 1 << 16):
                self.written += len(data)
                self._tail += data
                if len(self._tail) > 4 * _TAIL_BYTES:
                    del self._tail[:-_TAIL_BYTES]
        finally:
            os.close(self._descriptor)

    def tail(self) -> bytes:
        """The last bytes, once the writers are gone or have had some seconds for it."""
        self.join(_END_SECONDS)
        return bytes(self._tail[-_TAIL_BYTES:])

    def text(self) -> str:
        """The same as text."""
        return plain(self.tail().decode("utf-8", "replace"))[-_TAIL_BYTES:]
