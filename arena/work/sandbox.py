"""Whether experiments may start on this machine: in a working sandbox, or without one if the user said so."""

from __future__ import annotations

from arena.work.choice import require_chosen
from trainer.data import check_cache
from trainer.task import Task

OPEN = "WITHOUT a sandbox: all results will be marked unverified"
NEEDLESS = "simulated: nothing is trained, metrics are drawn from a law"


def runs_code(task: Task) -> bool:
    """Whether experiments execute the researcher's code. In a simulated task the source is only read."""
    return task.law is None


def holds(task: Task, sandboxed: bool) -> bool:
    """Whether no untrusted code runs outside a sandbox: one was requested, or nothing runs at all."""
    return sandboxed or not runs_code(task)


def said(task: Task, sandboxed: bool) -> str:
    """The words for it in a plan."""
    if not runs_code(task):
        return NEEDLESS
    return "sandboxed" if sandboxed else OPEN


def require(task: Task, sandboxed: bool) -> None:
    """Raise EnvironmentProblem, with the cure, where experiments of ``task`` cannot run here as requested.

    They need the executor that the environment names, a folder for the data and, if requested, a working sandbox. A
    simulated task needs only the first.
    """
    require_chosen()
    if not runs_code(task):
        return
    if task.run is not None:
        from trainer.attempts.command import check_run
        from trainer.jobs.run import require_sandbox

        require_sandbox(sandboxed)
        if sandboxed:
            check_run(task)
        return
    check_cache(task)
    if sandboxed:
        from trainer.sandbox.local import check_sandbox

        check_sandbox()
