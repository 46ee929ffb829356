"""CommandLauncher: where a command runs, in a sandbox or as the user's own process, and what an empty one costs."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from trainer.commands.compile_cache import CompileCache
from trainer.commands.job import CommandEnded, CommandJob
from trainer.commands.plain import run_plain
from trainer.sandbox.launcher import Ended, LauncherFault, ProcessRequest
from trainer.sandbox.process_tree import CommandLimits

_CALIBRATION_RUNS = 3
_LIMITS = CommandLimits(10.0, 60.0)


class CommandLauncher:
    """A launcher without a template: it measures the cost of an empty command, and holds the compile cache."""

    def __init__(self, sandboxed: bool, compiled: CompileCache | None = None) -> None:
        self.sandboxed = sandboxed
        self.constant = 0.0
        self.compiled = compiled

    def start(self, data: Path | None = None) -> None:
        """Calibrate. Raises NoSandbox if no sandbox can be made here."""
        require_sandbox(self.sandboxed)
        if not self.constant:
            empty = [self.carry_out(CommandJob(["true"], {}), _LIMITS).cpu_seconds for _ in range(_CALIBRATION_RUNS)]
            self.constant = statistics.median(empty)

    def carry_out(self, job: CommandJob, limits: CommandLimits) -> CommandEnded:
        """Run a job, in a sandbox of its own or as the user's own process."""
        if not self.sandboxed:
            return run_plain(job, limits)
        from trainer.commands.process import run_command  # for Linux alone

        return run_command(job, limits)

    def run(self, request: ProcessRequest, meanwhile: Any = None) -> Ended:
        raise LauncherFault("a task with a command has no template to run requests")

    def close(self) -> None:
        """Release the compile cache, if there is one."""
        if self.compiled:
            self.compiled.close()


def require_sandbox(wanted: bool) -> None:
    """Raise NoSandbox if a sandbox is wanted and cannot be made here."""
    if wanted:
        from trainer.sandbox import bwrap

        bwrap.ensure()
