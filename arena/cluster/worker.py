"""``python -m arena.cluster.worker FOLDER INDEX PARENT STUDY``: the worker of arena/work/worker.py on another machine.

Its events go to the driver's ledger, and it goes on when they are written. An actor (arena/cluster/actor.py) starts it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from pydantic import JsonValue

from analysis.ledger.json_values import plain
from arena.study.settings import StudyConfig
from arena.study.setup import versions
from arena.work.jobs import Job, RunJob, WorkerMessage, from_json
from arena.work.sandbox import require
from arena.work.worker import Worker, bound_to, describe, serve
from inner_loop.run_context import RunContext
from programs.common.errors import EnvironmentProblem, MetaloopError
from trainer.gpu import hardware_class
from trainer.task import Task

LOOK_SECONDS = 0.3  # maximum age of the driver's last answer on stopping


class Link:
    """The connection to the driver, in place of the ledger: `append` returns once an event is written to disk there.

    Thread-safe: a model gateway records calls while an agent works.
    """

    def __init__(self, channel: TextIO, answers: TextIO) -> None:
        self._channel, self._answers = channel, answers
        self._lock = threading.Lock()
        self._stop, self._answered_at = False, 0.0

    def append(self, event: Mapping[str, JsonValue], sync: bool = True) -> None:
        """Send an event; with ``sync``, wait until it is written."""
        with self._lock:
            self._write_line({"event": plain(event), "wait": sync})
            if sync:
                self._read_answer()

    def send(self, message: WorkerMessage) -> None:
        """Send any other message, except progress, which the driver derives from the events."""
        if "progress" not in message:
            with self._lock:
                self._write_line(message)

    def stopping(self) -> bool:
        """Whether the driver has requested a stop, as of at most LOOK_SECONDS ago."""
        with self._lock:
            if time.monotonic() - self._answered_at > LOOK_SECONDS:
                self._write_line({"wait": True})
                self._read_answer()
            return self._stop

    def jobs(self) -> Iterator[Job]:
        """The jobs as they arrive, until the driver closes the connection."""
        while line := self._answers.readline():
            self._stop = False
            yield from_json(json.loads(line))

    def close(self) -> None:
        """Nothing to do: the pipes belong to the process."""

    def _write_line(self, message: WorkerMessage) -> None:
        self._channel.write(json.dumps(message, allow_nan=False) + "\n")
        self._channel.flush()

    def _read_answer(self) -> None:
        line = self._answers.readline()
        if not line:  # the driver is gone, so nothing more can be recorded
            os._exit(1)
        self._stop, self._answered_at = bool(json.loads(line)["stop"]), time.monotonic()


class RemoteWorker(Worker):
    """A worker whose events, stop requests and spending file (purse.json) are the driver's."""

    def __init__(self, *args: Any, link: Link, study: Path, **named: Any) -> None:
        super().__init__(*args, ledger=link, **named)
        self._link, self._study = link, study

    def should_stop(self) -> bool:
        return self._link.stopping()

    def run_context(self, job: RunJob, folder: Path | None) -> RunContext:
        context = super().run_context(job, folder)
        return replace(context, study=self._study) if job.researcher != "scripted" else context


def check(config: StudyConfig, study: Path) -> None:
    """Raise, before the first job, if this machine cannot run the study's experiments, or not comparably."""
    tasks = [Task.load(task) for task in (config.task, *(each.task for each in config.further))]
    here, there = hardware_class(tasks[0].device), config.hardware_class
    if here != there:
        raise EnvironmentProblem(f"its hardware class is {here}, the study's is {there}")
    for name in ("metaloop", "torch"):
        mine, driver = getattr(versions(), name), getattr(config.versions, name)
        if mine != driver:
            raise EnvironmentProblem(f"it has {name} {mine}, the machine of the command has {driver}")
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


def main() -> None:
    if not bound_to(int(sys.argv[3])):
        return
    folder, study = Path(sys.argv[1]), Path(sys.argv[4])
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    link = Link(channel, sys.stdin)
    try:
        check(StudyConfig.read(folder / "study.toml"), study)
        serve(folder, int(sys.argv[2]), link.jobs(), link.send, make=partial(RemoteWorker, link=link, study=study))
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # process boundary: the driver gets the reason
        traceback.print_exc()
        link.send({"error": describe(error)})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
