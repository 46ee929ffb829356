"""The contents of an agent's sandbox besides the agent: the commands on its PATH, and its prompt."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from inner_loop.agents.answer import facts_of
from inner_loop.bench import Bench
from inner_loop.prompts import render
from programs.program import Program
from trainer.constraints import sentences
from trainer.task import Task

EXPERIMENT = "experiment"
NAMES = ("experiment", "python", "python3", "uv")
_HERE = Path(__file__).parent
_PROGRAM = re.compile(r"[a-z][a-z0-9+._-]*")


def entry(task: Task) -> str:
    """The script that is trained, and that a stock program starts by hand."""
    return "train.py" if "train.py" in task.editable else task.editable[0]


def own_command(task: Task) -> str:
    """The command line of an experiment of the user's repository; empty for other tasks."""
    if task.run is None:
        return ""
    return task.run.command if isinstance(task.run.command, str) else shlex.join(task.run.command)


def commands(task: Task) -> dict[str, bytes]:
    """Name on PATH → script. Python runs isolated, so that no module in the worktree is imported. The program of the
    task's own command is one of them: it requests an experiment if it is called as the task writes it."""
    first = own_command(task).split(" ")[0]
    names = (*NAMES, first) if _PROGRAM.fullmatch(first) else NAMES
    shebang = f"#!{os.path.realpath(sys.executable)} -ISB\n".encode()
    return dict.fromkeys(names, shebang + (_HERE / "client.py").read_bytes())


def environment(task: Task, worktree: Path) -> dict[str, str]:
    """Variables for the commands."""
    return {
        "METALOOP_WORKTREE": str(worktree),
        "METALOOP_ENTRY": entry(task),
        "METALOOP_COMMAND": own_command(task),
        "METALOOP_PYTHON": sys.executable,  # an agent's own may be first on PATH, without the packages
        "METALOOP_EDITABLE": ":".join(task.editable),
    }


def prompt(bench: Bench, program: Program, *, metered: bool, sandboxed: bool = True, last: float = float("inf")) -> str:
    """The agent's situation and tools; how it works is described by the program in its worktree.

    ``metered``: it is charged outside experiments. ``last``: see `AgentSession`.
    """
    facts, task = facts_of(bench), bench.task
    return render(
        "agent",
        editable=task.editable,
        description=task.description or task.name,
        metric=task.metric,
        entry=entry(task),
        direction=task.direction,
        baseline=f"{facts['baseline']:.6f}",
        affordable=facts["affordable"],
        budget=f"{bench.budget_seconds:.4g} s",
        done=len(bench.history) - 1,
        head=f"{facts['head']:.6f}",
        head_experiment=facts["head_experiment"],
        command=own_command(task),
        constraints=sentences(task.constraints),
        files=[path for path, _ in program.files[1:]],
        living=[path for path, _ in program.living],
        metered=metered,
        sandboxed=sandboxed,
        turn=None if last == float("inf") else int(last) - len(bench.history),
    )
