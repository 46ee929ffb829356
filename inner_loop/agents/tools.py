"""What a researcher's sandbox holds besides the agent: the commands on its PATH, and the text that it starts from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from inner_loop.agents.answer import facts_of
from inner_loop.agents.view import TOOLS
from inner_loop.bench import Bench
from inner_loop.prompts import render
from trainer.task import Task

EXPERIMENT = f"{TOOLS}/experiment"
NAMES = ("experiment", "python", "python3", "uv")
_HERE = Path(__file__).parent


def entry(task: Task) -> str:
    """The script that is trained: what a stock program starts by hand."""
    return "train.py" if "train.py" in task.editable else task.editable[0]


def commands() -> dict[str, bytes]:
    """Name on PATH → script. Isolated, so that nothing in the worktree shadows a module of it."""
    shebang = f"#!{os.path.realpath(sys.executable)} -ISB\n".encode()
    return dict.fromkeys(NAMES, shebang + (_HERE / "client.py").read_bytes())


def environment(task: Task, worktree: Path) -> dict[str, str]:
    """What the commands need to know."""
    return {
        "METALOOP_WORKTREE": str(worktree),
        "METALOOP_ENTRY": entry(task),
        "METALOOP_PYTHON": sys.executable,  # an agent's own may be first on PATH, without the packages
        "METALOOP_EDITABLE": ":".join(task.editable),
    }


def prompt(bench: Bench) -> str:
    """Where the agent is and what it has; how it works is the program's to say, which lies in its worktree."""
    facts, task = facts_of(bench), bench.task
    return render(
        "agent", editable=task.editable, description=task.description or task.name, metric=task.metric,
        entry=entry(task), direction=task.direction, baseline=f"{facts['baseline']:.6f}",
        affordable=facts["affordable"],
        budget=f"{bench.budget_seconds:.4g} s", done=len(bench.history) - 1, head=f"{facts['head']:.6f}",
        head_experiment=facts["head_experiment"],
    )  # fmt: skip
