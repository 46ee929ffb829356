"""What to do about a baseline that does not run, from what it said."""

from __future__ import annotations

import re
import shlex

from trainer.outcome import Outcome
from trainer.task import Task

_TOLD = (
    (
        r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]{1,60})'",
        "{0} is not installed where it looks: a .venv in the repository (uv sync), then init again",
    ),
    (r"Cannot find (?:module|package) '([\w@/.-]{1,80})'", "{0} is not installed: npm install, then init again"),
    (
        r"uv: (?:not found|No such file)",
        "uv cannot work without the network: make .venv there, and name the command as python train.py",
    ),
    (
        r"name resolution|getaddrinfo|ENOTFOUND|Network is unreachable|[Cc]ould not resolve host|service not known",
        "it asks for the network, and there is none: fetch what it needs before, and show it: init --readable PATH",
    ),
    (r"No space left on device", "[run] disk_mb = … is too small; now {disk_mb}"),
    (r"No NVIDIA|CUDA (?:error|driver)|not compiled with CUDA|no CUDA", "it asks for a GPU, and is shown none"),
    (r"(\S{1,80}): (?:Permission denied|cannot execute)", "name {0} under [run] executable, if it is a program"),
    (
        r"(?:sh: \d+: |bash: (?:line \d+: )?)([\w./+-]{1,60}): (?:command )?not found",
        "{0} is not there: install it, or show its folder by [run] readable",
    ),
    (
        r"No such file or directory: '([^'\n]{1,120})'|([\w./-]{1,120}): No such file|open '([^'\n]{1,120})'",
        "{0} is not in the task: it is made by a setup step, or left out; init --readable PATH shows a file or folder",
    ),
)  # fmt: skip


def cure(outcome: Outcome, task: Task) -> str:
    """One line: the first that fits what was said, else what fits how it ended."""
    said = outcome.log[-4000:]
    disk = task.run.disk_mb if task.run else 0
    for pattern, words in _TOLD if outcome.status in ("crash", "invalid") else ():
        if match := re.search(pattern, said):
            return words.format(*[text for text in match.groups() if text], disk_mb=disk)
    if outcome.status == "timeout":
        return f"[budget] seconds = … is too small, or hard_factor; now {task.budget_seconds:g}"
    if outcome.status == "oom":
        return f"[budget] memory_mb = … is too small; now {task.memory_mb}"
    if outcome.status == "invalid":
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
        printed = f"it printed {last[:60]!r} last" if last else "it printed nothing"
        return f"{printed}; [score] pattern says what counts, or init again with --metric NAME [--metric-file FILE]"
    return f"it must run as it is: cd {shlex.quote(str(task.folder))} and try it by hand, without the network"
