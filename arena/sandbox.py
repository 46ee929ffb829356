"""Whether experiments may start on this machine: in a sandbox that works, or without one where the user said so."""

from __future__ import annotations

from programs.errors import EnvironmentProblem
from trainer.data import check_cache
from trainer.task import Task

FLAG = "--unsafe-no-sandbox"
OPEN = "WITHOUT a sandbox: every row will say unverified"
NEEDLESS = "simulated: nothing is trained, a law tells every figure"


def runs_code(task: Task) -> bool:
    """Whether experiments execute what a researcher wrote; where a law tells the metric, the source is only read."""
    return task.law is None


def holds(task: Task, asked: bool) -> bool:
    """Whether nothing of a stranger runs outside a sandbox: one is asked for, or nothing runs at all."""
    return asked or not runs_code(task)


def said(task: Task, asked: bool) -> str:
    """How a plan tells it."""
    if not runs_code(task):
        return NEEDLESS
    return "sandboxed" if asked else OPEN


def require(task: Task, asked: bool) -> None:
    """Raise EnvironmentProblem, with the cure, where experiments of ``task`` cannot run here as they are asked to.

    Its data must have a place, and the sandbox hold, if one is asked for; where nothing is trained, nothing is needed.
    A task with a command runs a stranger's process tree: never without a sandbox.
    """
    if not runs_code(task):
        return
    if task.run is not None:
        from trainer.command import check_run, require_sandbox

        check_run(task)
        require_sandbox(asked)
        return
    check_cache(task)
    if task.scoring.get("build"):
        from trainer import building

        building.require()
    if not asked:
        return
    from trainer.local import check_sandbox

    try:
        check_sandbox()
    except EnvironmentProblem as error:
        hint = error.hint if FLAG in error.hint else "; or ".join(part for part in (error.hint, FLAG) if part)
        raise EnvironmentProblem(error.message, hint=hint) from None
