"""A seat: the actor that holds one worker process on a node, and the line to it.

The worker is a process of its own, with one thread and its main thread's parent: a trainer's template is forked, dies
with its parent's thread and reaps its children, none of which a Ray worker with its many threads is fit for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, cast

from arena.cluster import parcel, runs
from arena.cluster.parcel import Parcel
from arena.cluster.protocol import MOST_LINE
from programs.errors import EnvironmentProblem

TOLD_OF_LOG = 400  # last characters of a dead worker's log that are told


def place_of(session: str) -> Path:
    """The folder on this node of all workers of one executor; nobody else's, or EnvironmentProblem."""
    folder = Path(tempfile.gettempdir()) / f"metaloop-{os.getuid()}-{session}"
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EnvironmentProblem(f"{folder} belongs to somebody else")
    for name in ("data", "cache"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


class SeatActor:
    """Ray actor. Every call is the driver's; between two calls a worker waits, or trains."""

    def __init__(self, session: str, index: int) -> None:
        self._session, self._index = session, index
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = b""

    def begin(self, sent: Parcel) -> None:
        """Lay the worker's folder and start it."""
        with contextlib.suppress(PermissionError):  # Ray starts its workers nice 15; root may undo that
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        root = place_of(self._session)
        self._folder = root / f"worker-{self._index}"
        shutil.rmtree(self._folder, ignore_errors=True)  # of a worker of this seat that died
        self._folder.mkdir(mode=0o700)
        (self._folder / "runs").mkdir()
        for name in ("data", "cache"):
            (self._folder / name).symlink_to(root / name)
        parcel.lay(sent, root).dump(self._folder / "study.toml")
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "arena.cluster.worker", str(self._folder), str(self._index),
                 str(os.getpid()), sent.study],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                env={**os.environ, **sent.environment},
            )  # fmt: skip

    def talk(self, line: bytes | None) -> list[bytes] | str:
        """Hand a line to the worker, if there is one, and wait for what it says; how it ended where it has."""
        process = cast("subprocess.Popen[bytes]", self._process)
        if line is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe = cast(IO[bytes], process.stdin)
                pipe.write(line + b"\n")
                pipe.flush()
        out = cast(IO[bytes], process.stdout)
        while data := os.read(out.fileno(), 1 << 16):
            *lines, self._begun = (self._begun + data).split(b"\n")
            if lines:
                return lines
            if len(self._begun) > MOST_LINE:
                process.kill()
        return self._ending(process)

    def there(self) -> str:
        """The answer to whether the actor is there at all: what it had told before has got lost with the connection."""
        return "the connection to it broke"

    def fetch(self, run_id: str) -> runs.Packed:
        """The folder of a run that has ended."""
        return runs.pack(self._folder / "runs" / run_id)

    def lay(self, run_id: str, packed: runs.Packed) -> None:
        """The folder of a run that somebody else began."""
        runs.lay(packed, self._folder / "runs" / run_id)

    def end(self) -> None:
        """Let the worker end in good order."""
        if self._process is None:
            return
        cast(IO[bytes], self._process.stdin).close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ending(self, process: subprocess.Popen[bytes]) -> str:
        status = process.wait()
        log = (self._folder / "log").read_bytes()[-TOLD_OF_LOG:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(log) if line.strip()), "")
        return f"status {status}{f': {last}' if last else ''}"


def sweep(session: str) -> None:
    """Remove what the workers of an executor left on this node."""
    shutil.rmtree(Path(tempfile.gettempdir()) / f"metaloop-{os.getuid()}-{session}", ignore_errors=True)
