"""One small real experiment in a sandbox of this machine: what `metaloop doctor` goes by."""

from __future__ import annotations

import tempfile
from pathlib import Path

from programs.errors import EnvironmentProblem
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.scaffold import init
from trainer.streams import Streams
from trainer.task import Task

FRACTION = 0.25  # of the small task's budget; a busy machine must get to a checkpoint, too


def one_experiment() -> None:
    """Start the sandbox with torch in it, let it try to get out, train and score. EnvironmentProblem where that fails.

    What starts without torch may still die under the system call filter, the memory line or the closed packages.
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
            f"an experiment in the sandbox ends with {outcome.status}: {outcome.reason or said}",
            hint="metaloop task check strokes tries one at length",
        )
