"""Runs a job in a sandbox or as the user's own processes."""

from __future__ import annotations

from trainer.jobs.job import Ended, Job
from trainer.jobs.process_tree import Attend


def run_job(job: Job, *, sandboxed: bool, attend: Attend | None = None) -> Ended:
    """Run a job until it ends or is killed. ``attend`` is called with its process tree while it runs, at least once;
    it ends the job by returning False, and may change the tree's ``cpu_line``.

    EnvironmentProblem if no sandbox can be made, LauncherFault if the machinery fails.
    """
    if not sandboxed:
        from trainer.jobs.plain import run_plain

        return run_plain(job, attend)
    from trainer.jobs.sandboxed import run_sandboxed  # for Linux alone

    return run_sandboxed(job, attend)


def require_sandbox(wanted: bool) -> None:
    """Raise NoSandbox if a sandbox is wanted and cannot be made here."""
    if wanted:
        from trainer.sandbox import bwrap

        bwrap.ensure()
