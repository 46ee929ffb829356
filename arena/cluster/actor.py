"""The Ray actor: an ordinary worker process on a node, in a folder with the study's parts.

The worker is a separate process because the trainer's template forks, dies with its parent's thread and reaps its
children, which does not work inside a Ray worker with its many threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from analysis.ledger.writer import RESERVED
from arena.cluster.files import Files, files_of, run_files, write_files
from arena.study.settings import StudyConfig
from arena.study.setup import versions
from arena.work.executors.local import WorkerProcess
from arena.work.jobs import ErrorRecord, Job, RunJob
from arena.work.sandbox import require
from arena.work.worker import RECORD, REPLAY, describe
from programs.common.errors import EnvironmentProblem, MetaloopError
from trainer.data import DataStore
from trainer.gpu import hardware_class
from trainer.streams import Stream
from trainer.task import Task

Split = tuple[str, Stream, str]  # the task's id, and the split's label


@dataclass(frozen=True)
class StudyParts:
    """What a worker needs: the settings, with the versions of the driver, and the files of each task's folder, by its
    name in the settings. ``study``: the folder at the driver, for nodes that can see it. ``session``: the name of the
    executor's folder on a node."""

    config: StudyConfig
    tasks: Mapping[str, Files]
    study: str
    session: str
    environment: Mapping[str, str]  # folders that all nodes can see; never keys


def parts_of(config: StudyConfig, study: Path, session: str) -> StudyParts:
    """The parts of a study for its workers; without its starters, which only the driver uses."""
    names = {config.task, *(each.task for each in config.others)}
    tasks = {name: files_of(Path(Task.load(name).folder)) for name in names}
    slim = config.model_copy(update={"programs": [], "plan": {}, "versions": versions()})
    here = {name: os.environ[name] for name in (RECORD, REPLAY) if os.environ.get(name)}
    return StudyParts(slim, tasks, str(study), session, here)


@dataclass(frozen=True)
class CarriedOut:
    """What came of a job: its result, or the error that ended the worker; all events, and the folder of a run."""

    events: Sequence[Mapping[str, JsonValue]]
    result: Mapping[str, JsonValue] | None = None
    error: ErrorRecord | None = None
    files: Files = ()


class WorkerActor:
    """Only the driver calls it. ``stop`` and ``end`` may be called while a job runs."""

    def __init__(self, parts: StudyParts, index: int) -> None:
        """Lay out the study's parts, and start the worker if this machine can run its experiments."""
        import ray

        with contextlib.suppress(PermissionError):  # Ray starts its workers with nice 15; root can undo that
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        os.environ.update(parts.environment)
        self._node = ray.get_runtime_context().get_node_id()
        root = node_path(parts.session, self._node)
        self._folder, self._index, self._taken = root / f"worker-{index}", index, 0
        self._error: ErrorRecord | None = None
        try:
            make_node_folder(root)
            (self._folder / "runs").mkdir(parents=True)
            for name in ("data", "cache"):
                (self._folder / name).symlink_to(root / name)
            lay_tasks(parts, self._folder).dump(self._folder / "study.toml")
            check(parts.config, StudyConfig.read(self._folder / "study.toml"), Path(parts.study))
            self._worker = WorkerProcess(self._folder, index, spending=parts.study)
        except (MetaloopError, OSError) as error:
            self._error = describe(error)

    def begin(self) -> tuple[str, str, ErrorRecord | None]:
        """Ray's id of this node, its host name, and why it cannot be used, if it cannot."""
        return self._node, socket.gethostname(), self._error

    def carry_out(self, job: Job, files: Files = ()) -> CarriedOut | str:
        """Give the worker a job and wait for its end; how the worker died, if it did.

        ``files``: the folder of a run that was interrupted elsewhere.
        """
        folder = self._folder / "runs" / job.job_id
        if files:
            write_files(files, folder)
        self._worker.send(job)
        while (messages := self._worker.receive()) is not None:
            for message in messages:
                if "error" in message:
                    return CarriedOut(self._events(), error=message["error"])
                if "result" in message:
                    back = run_files(folder) if isinstance(job, RunJob) else ()
                    return CarriedOut(self._events(), result=message["result"], files=back)
        log = (self._folder / "log" / f"worker-{self._index}.log").read_text("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(log) if line.strip()), "")
        return f"status {self._worker.process.wait()}{f': {last}' if last else ''}"

    def _events(self) -> list[Mapping[str, JsonValue]]:
        """What the worker has written to its ledger since the last call, without the heads of the records."""
        (segment,) = (self._folder / "ledger").glob("*.jsonl")
        lines = segment.read_bytes()[self._taken :]
        self._taken += len(lines)
        records = [json.loads(line) for line in lines.splitlines()]
        return [
            {key: value for key, value in record.items() if key not in RESERVED}
            for record in records
            if record["kind"] != "segment"
        ]

    def stop(self) -> None:
        """Let the experiments in progress end, and then the job."""
        (self._folder / "stop").touch()

    def discard(self, splits: Sequence[Split]) -> None:
        """Delete hidden splits of this node that are not used again."""
        config = StudyConfig.read(self._folder / "study.toml")
        for task, stream, label in splits:
            store = DataStore(config.at(task).loaded_task(), config.streams, self._folder / "data", label=label)
            store.discard(stream)

    def end(self) -> None:
        """Stop the worker in good order."""
        if self._error is None:
            self._worker.close()


def check(sent: StudyConfig, config: StudyConfig, study: Path) -> None:
    """Raise EnvironmentProblem if this machine cannot run the study's experiments, or not comparably."""
    tasks = [Task.load(task) for task in (config.task, *(task_config.task for task_config in config.further))]
    ours, theirs = hardware_class(tasks[0].device), sent.hardware_class
    if ours != theirs:
        raise EnvironmentProblem(f"its hardware class is {ours}, the study's is {theirs}")
    for name in ("metaloop", "torch"):
        installed, needed = getattr(versions(), name), getattr(sent.versions, name)
        if installed != needed:
            raise EnvironmentProblem(f"it has {name} {installed}, the machine of the command has {needed}")
    for task in tasks:
        require(task, config.sandbox)
    if config.researcher == "scripted":
        return
    try:
        same = StudyConfig.read(study / "study.toml").study_id == config.study_id
    except MetaloopError:
        same = False
    if not same:  # the spending of a study is recorded in its folder, under a lock
        raise EnvironmentProblem(
            f"researcher {config.researcher} records its spending in {study}, which this machine cannot see",
            hint="put the study on a file system that all nodes share",
        )


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


def lay_tasks(parts: StudyParts, folder: Path) -> StudyConfig:
    """Write the tasks' files below ``folder``; returns the settings with these paths."""
    at = {}
    for number, (name, files) in enumerate(parts.tasks.items()):
        at[name] = str(folder / f"task-{number}")
        write_files(files, Path(at[name]))
    config = parts.config
    moved = {
        kind: [entry.model_copy(update={"task": at[entry.task]}) for entry in getattr(config, kind)]
        for kind in ("further", "held_out")
    }
    return config.model_copy(update={"task": at[config.task], **moved})
