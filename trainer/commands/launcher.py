"""CommandLauncher: where the commands of a task run, what an empty one costs, and their compile cache."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from trainer.commands.compile_cache import CompileCache
from trainer.jobs.job import Ended, Job, Limits
from trainer.jobs.run import require_sandbox, run_job

_CALIBRATION_RUNS = 3


class CommandLauncher:
    """A launcher without a template: each job starts anew, in a sandbox or as the user's own processes."""

    def __init__(self, sandboxed: bool, compiled: CompileCache | None = None) -> None:
        self.sandboxed = sandboxed
        self.constant = 0.0
        self.compiled = compiled

    def start(self, data: Path | None = None) -> None:
        """Calibrate. Raises NoSandbox if no sandbox can be made here."""
        require_sandbox(self.sandboxed)
        if not self.constant:
            empty = Job(["true"], limits=Limits(10.0, 60.0))
            self.constant = statistics.median(self.run(empty).cpu_seconds for _ in range(_CALIBRATION_RUNS))

    def run(self, job: Job, attend: Callable[[], bool] | None = None) -> Ended:
        """Run a job until it ends or is killed; ``attend``: see `trainer.jobs.run.run_job`."""
        return run_job(job, sandboxed=self.sandboxed, attend=(lambda _: attend()) if attend else None)

    def close(self) -> None:
        """Release the compile cache, if there is one."""
        if self.compiled:
            self.compiled.close()
