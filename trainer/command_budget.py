"""The budget of a command: what speaks for it, what a plan says of it, and how a measured one gets into task.toml."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from programs.errors import UsageError

if TYPE_CHECKING:
    from trainer.task import Task

_APART = 3.0  # budget over measured cost, or the other way round, from which a plan would mislead
_WHOLE = "its command is told no budget: where a charter screens, every candidate gets a full experiment instead"


def remarks(task: Task) -> list[str]:
    """What a plan on this task is to be read with, a line each."""
    lines = [] if task.scales else [_WHOLE]
    if task.budget_basis in ("stated", "assumed"):
        lines.append(f"its {task.budget_seconds:g} s an experiment were never measured: {_cure(task)}")
    return lines


def refuse_guess(task: Task) -> None:
    """Raise UsageError where only our own guess says how long an experiment takes: the plan would be one, too."""
    if task.budget_basis == "assumed":
        message = f"{task.folder / 'task.toml'}: [budget] seconds = {task.budget_seconds:g} is a guess"
        raise UsageError(message, hint=f"{_cure(task)} measures it")


def misleads(task: Task, measured: float) -> bool:
    return not 1 / _APART <= task.budget_seconds / max(measured, 1e-6) <= _APART


def write_measured(task: Task, seconds: float) -> bool:
    """Put a measured time into ``[budget]``, the rest of task.toml as it is. Whether there was a line for it.

    Where the command is told its budget as ``{budget}``, that stays what it was: told what it took, it would take more.
    """
    path = task.folder / "task.toml"
    takes_budget = task.run is not None and "{budget}" in f"{task.run.command} {task.run.environment}"
    kept: list[str] = []
    section, done = "", False
    number = repr(float(f"{seconds:.3g}"))
    for line in path.read_text("utf-8").splitlines(keepends=True):
        header = re.match(r"\s*\[+([^\]]+)\]+", line)
        section = header[1].strip() if header else section
        if section == "budget" and re.match(r"seconds\s*=", line):
            first = line if takes_budget else f"seconds = {number}  # as metaloop task check measured it\n"
            line, done = f'{first}cost = {number}\nbasis = "measured"\n', True
        elif section == "budget" and re.match(r"(?:cost|basis)\s*=", line):
            continue
        kept.append(line)
    if done:
        path.write_text("".join(kept), "utf-8")
    return done


def _cure(task: Task) -> str:
    return f"metaloop task check {shlex.quote(str(task.folder))} --write"
