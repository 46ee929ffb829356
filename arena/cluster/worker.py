"""``python -m arena.cluster.worker FOLDER INDEX PARENT STUDY``: the worker of arena/worker.py on another machine.

Its events go to the driver's ledger. Started by a seat (arena/cluster/seat.py), never by hand.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arena.cluster.link import Link
from arena.jobs import RunJob
from arena.sandbox import require
from arena.settings import StudyConfig
from arena.worker import Worker, bound_to, describe, serve
from inner_loop.run_context import RunContext
from programs.errors import EnvironmentProblem, MetaloopError
from trainer.task import Task


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


def check(folder: Path, study: Path) -> None:
    """Raise, before the first job, if this machine cannot run the study's experiments."""
    config = StudyConfig.read(folder / "study.toml")
    for task in (config.task, *(each.task for each in (*config.further, *config.fresh))):
        require(Task.load(task), config.sandbox)
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
        check(folder, study)
        serve(folder, int(sys.argv[2]), link.jobs(), link.send, make=partial(RemoteWorker, link=link, study=study))
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # process boundary: the driver gets the reason
        traceback.print_exc()
        link.send({"error": describe(error)})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
