"""The budget of a command: its origin, the remarks in a plan, and how a measured value is stored in task.toml."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from programs.errors import UsageError

if TYPE_CHECKING:
    from trainer.task import Task

_APART = 3.0  # ratio of budget and measured cost, or its inverse, from which a plan is misleading
_WHOLE = "its command takes no budget, so a program with `screen` gives every candidate a full experiment"


def remarks(task: Task) -> list[str]:
    """Remarks to show with a plan for this task, one line each."""
    lines = [] if task.scales else [_WHOLE]
    if task.budget_basis in ("stated", "assumed"):
        lines.append(f"its {task.budget_seconds:g} s per experiment were never measured: {_cure(task)}")
    return lines


def refuse_guess(task: Task) -> None:
    """Raise UsageError if the duration of an experiment is only a guess, because the plan would be a guess too."""
    if task.budget_basis == "assumed":
        message = f"{task.folder / 'task.toml'}: [budget] seconds = {task.budget_seconds:g} is a guess"
        raise UsageError(message, hint=f"{_cure(task)} measures it")


def misleads(task: Task, measured: float) -> bool:
    return not 1 / _APART <= task.budget_seconds / max(measured, 1e-6) <= _APART


def write_measured(task: Task, seconds: float, note: str = "") -> bool:
    """Store a measured time in ``[budget]``, with a ``note`` on it, and leave the rest of task.toml unchanged. False if
    it has no such line.

    If the command gets its budget as ``{budget}``, ``seconds`` stays: with its measured time as budget it would run
    longer still.
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
            first = line if takes_budget else f"seconds = {number}  # as metaloop task check measured it{note}\n"
            line, done = f'{first}cost = {number}\nbasis = "measured"\n', True
        elif section == "budget" and re.match(r"(?:cost|basis)\s*=", line):
            continue
        kept.append(line)
    if done:
        path.write_text("".join(kept), "utf-8")
    return done


def _cure(task: Task) -> str:
    return f"metaloop task check {shlex.quote(str(task.folder))} --write"
