"""Runs one small real experiment in this machine's sandbox, for `metaloop doctor`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from programs.common.errors import EnvironmentProblem
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import init

FRACTION = 0.25  # of the small task's budget; enough to reach a checkpoint on a busy machine


def one_experiment() -> None:
    """Start the sandbox with torch, run its self-test, train and score. EnvironmentProblem if that fails.

    A sandbox that starts may still fail by the system call filter, the memory limit or unreadable packages.
    """
    with tempfile.TemporaryDirectory(prefix="metaloop-doctor-") as folder:
        task = Task.load(init(Path(folder) / "task"))
        data = DataStore(task, Streams.from_seed(1), Path(folder) / "data")
        with Trainer(task, data) as trainer:
            trainer.launcher.start(data.train())
            outcome = trainer.run(Spec(task.baseline(), seed=1, fraction=FRACTION))
    if outcome.status != "ok":
        said = (outcome.log.strip().splitlines() or [""])[-1]
        raise EnvironmentProblem(
            f"an experiment in the sandbox ended with {outcome.status}: {outcome.reason or said}",
            hint="run metaloop task check strokes for details",
        )
