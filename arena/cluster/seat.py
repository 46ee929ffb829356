"""A seat: the Ray actor that runs one worker process on a node and exchanges messages with it.

The worker is a separate process because the trainer's template forks, dies with its parent's thread and reaps its
children, which does not work inside a Ray worker with its many threads.
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

LOG_CHARS = 400  # last characters of a dead worker's log that are searched for its last line


def executor_folder(session: str) -> Path:
    """The folder of one executor's workers on this node. Raises EnvironmentProblem if another user owns it."""
    folder = Path(tempfile.gettempdir()) / f"metaloop-{os.getuid()}-{session}"
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EnvironmentProblem(f"{folder} belongs to another user")
    for name in ("data", "cache"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


class SeatActor:
    """Ray actor. Only the driver calls it; between calls the worker waits or trains."""

    def __init__(self, session: str, index: int) -> None:
        self._session, self._index = session, index
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = b""

    def begin(self, sent: Parcel) -> None:
        """Create the worker's folder and start the worker."""
        with contextlib.suppress(PermissionError):  # Ray starts its workers with nice 15; root can undo that
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        root = executor_folder(self._session)
        self._folder = root / f"worker-{self._index}"
        shutil.rmtree(self._folder, ignore_errors=True)  # left by a worker that died
        self._folder.mkdir(mode=0o700)
        (self._folder / "runs").mkdir()
        for name in ("data", "cache"):
            (self._folder / name).symlink_to(root / name)
        parcel.lay(sent, root).dump(self._folder / "study.toml")
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "arena.cluster.worker",
                    str(self._folder),
                    str(self._index),
                    str(os.getpid()),
                    sent.study,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **sent.environment},
            )

    def talk(self, line: bytes | None) -> list[bytes] | str:
        """Send a line, if any, to the worker and wait for its lines; returns its exit status if it has ended."""
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
        """Answers that the actor is alive; the result of its last call was lost with the connection."""
        return "the connection to it broke"

    def fetch(self, run_id: str) -> runs.Packed:
        """Pack the folder of a run that has ended."""
        return runs.pack(self._folder / "runs" / run_id)

    def lay(self, run_id: str, packed: runs.Packed) -> None:
        """Write the folder of a run that another worker started."""
        runs.lay(packed, self._folder / "runs" / run_id)

    def end(self) -> None:
        """Stop the worker in good order."""
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
        log = (self._folder / "log").read_bytes()[-LOG_CHARS:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(log) if line.strip()), "")
        return f"status {status}{f': {last}' if last else ''}"


def sweep(session: str) -> None:
    """Remove the files that an executor's workers left on this node."""
    shutil.rmtree(Path(tempfile.gettempdir()) / f"metaloop-{os.getuid()}-{session}", ignore_errors=True)
