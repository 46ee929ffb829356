"""The Ray actor that runs one worker process on a node and exchanges messages with it.

The worker is a separate process because the trainer's template forks, dies with its parent's thread and reaps its
children, which does not work inside a Ray worker with its many threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from arena.cluster.files import Files, files_of, run_files, write_files
from arena.study.settings import StudyConfig
from arena.study.setup import versions
from arena.work.worker import RECORD, REPLAY
from programs.common.errors import EnvironmentProblem
from trainer.data import DataStore
from trainer.streams import Stream
from trainer.task import Task

Split = tuple[str, Stream, str]  # the task's id, and the split's label
LOG_CHARS = 400  # last characters of a dead worker's log that are searched for its last line


@dataclass(frozen=True)
class Parcel:
    """What a worker needs: the settings, with the versions of the driver, and the files of each task's folder, by its
    name in the settings. ``study``: the folder at the driver, for nodes that can see it. ``session``: the name of the
    executor's folder on a node."""

    config: StudyConfig
    tasks: Mapping[str, Files]
    study: str
    session: str
    environment: Mapping[str, str]  # folders that all nodes can see; never keys


def parcel_of(config: StudyConfig, study: Path, session: str) -> Parcel:
    """The data of a study for its workers; without its starters, which only the driver uses."""
    names = {config.task, *(each.task for each in config.others)}
    tasks = {name: files_of(Path(Task.load(name).folder)) for name in names}
    slim = config.model_copy(update={"programs": [], "plan": {}, "versions": versions()})
    here = {name: os.environ[name] for name in (RECORD, REPLAY) if os.environ.get(name)}
    return Parcel(slim, tasks, str(study), session, here)


class WorkerActor:
    """Only the driver calls it; between calls the worker waits or trains."""

    def begin(self, parcel: Parcel, index: int) -> tuple[str, str]:
        """Start the worker in a folder of its own. Returns Ray's id of this node and its host name."""
        import ray

        with contextlib.suppress(PermissionError):  # Ray starts its workers with nice 15; root can undo that
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        self._begun = b""
        node = ray.get_runtime_context().get_node_id()
        root = node_path(parcel.session, node)
        make_node_folder(root)
        self._folder = root / f"worker-{index}"
        (self._folder / "runs").mkdir(parents=True)
        for name in ("data", "cache"):
            (self._folder / name).symlink_to(root / name)
        lay_tasks(parcel, self._folder).dump(self._folder / "study.toml")
        ids = [str(index), str(os.getpid()), parcel.study]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "arena.cluster.worker", str(self._folder), *ids],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **parcel.environment},
            )
        return node, socket.gethostname()

    def talk(self, line: bytes | None, run_id: str = "", files: Files = ()) -> list[bytes] | str:
        """Send a line, if any, to the worker and wait for its lines; returns its exit status if it has ended.

        ``files``: the folder of the run that the line continues, if another worker started it.
        """
        if files:
            write_files(files, self._folder / "runs" / run_id)
        if line is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe = cast(IO[bytes], self._process.stdin)
                pipe.write(line + b"\n")
                pipe.flush()
        out = cast(IO[bytes], self._process.stdout)
        while data := os.read(out.fileno(), 1 << 16):
            *lines, self._begun = (self._begun + data).split(b"\n")
            if lines:
                return lines
        status = self._process.wait()
        log = (self._folder / "log").read_bytes()[-LOG_CHARS:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(log) if line.strip()), "")
        return f"status {status}{f': {last}' if last else ''}"

    def fetch(self, run_id: str) -> Files:
        """The folder of a run that has ended."""
        return run_files(self._folder / "runs" / run_id)

    def discard(self, splits: Sequence[Split]) -> None:
        """Delete hidden splits of this node that are not used again."""
        config = StudyConfig.read(self._folder / "study.toml")
        for task, stream, label in splits:
            store = DataStore(config.at(task).loaded_task(), config.streams, self._folder / "data", label=label)
            store.discard(stream)

    def end(self) -> None:
        """Stop the worker in good order."""
        cast(IO[bytes], self._process.stdin).close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def node_path(session: str, node: str) -> Path:
    """The folder of one executor's workers on this node; several nodes may share a machine."""
    return Path(tempfile.gettempdir()) / f"metaloop-{os.getuid()}-{session}-{node[:12]}"


def sweep(session: str, node: str) -> None:
    """Remove what an executor's workers left on this node, the study's secret among it."""
    shutil.rmtree(node_path(session, node), ignore_errors=True)


def make_node_folder(folder: Path) -> None:
    """Make the folder and those that workers share. Raises EnvironmentProblem if another user owns it."""
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise EnvironmentProblem(f"{folder} belongs to another user")
    for name in ("data", "cache"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)


def lay_tasks(parcel: Parcel, folder: Path) -> StudyConfig:
    """Write the tasks' files below ``folder``; returns the settings with these paths."""
    at = {}
    for number, (name, files) in enumerate(parcel.tasks.items()):
        at[name] = str(folder / f"task-{number}")
        write_files(files, Path(at[name]))
    config = parcel.config
    moved = {
        kind: [each.model_copy(update={"task": at[each.task]}) for each in getattr(config, kind)]
        for kind in ("further", "held_out")
    }
    return config.model_copy(update={"task": at[config.task], **moved})
