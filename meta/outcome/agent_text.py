"""What a coding agent, which reads a program without Metaloop, gets of its task: names, code changes, commands."""

from __future__ import annotations

import re
import shlex
from difflib import unified_diff
from pathlib import Path

from trainer.edits import ROLE, Knob, read_value
from trainer.task import Task, builtin_tasks
from trainer.values.conditional import known

_WORD = re.compile(r"`(@?[A-Za-z_]\w*)(?:(==|!=|<=|>=|=|<|>)([^`?]+))?(\??)`( ?)")


def for_agents(text: str, task: Task) -> str:
    """The text with the task's own names and values where ideas name a role, or a choice by another task's word:
    `@learning_rate=*3` is `lr=*3`, `optimizer=adam` is `optimizer=adamw`. What an idea changes only where a script has
    it (``?``) is certain now, or left out."""
    return "\n".join(_for_agents(line, task) for line in text.split("\n"))


def _for_agents(line: str, task: Task) -> str:
    left = set[str]()

    def own(match: re.Match[str]) -> str:
        name, sign, value, optional, space = match.groups()
        knob = task.edits.knob(name)
        alone = name == f"{ROLE}learning_rate" and f"{ROLE}optimizer" in left
        plain = f"{name}{sign or ''}{value or ''}"
        if optional and (alone or knob is None or not known(task.edits, plain)):
            left.add(name)
            return ""
        if knob is None:
            return match[0]
        if value and knob.kind == "choice" and (meant := knob.meant(read_value(value))) is not None:
            value = str(meant)
        shown = knob.name.lower() if name.startswith(ROLE) else name
        return f"`{shown}{sign or ''}{value or ''}`{space}"

    return _WORD.sub(own, line)


def with_code_changes(text: str, task: Task) -> str:
    """The text with a last section that shows the changes of the code that it names, where there are any."""
    patches = [knob for knob in task.edits.knobs if knob.kind == "patch" and f"`{knob.name}`" in text]
    if not patches:
        return text
    return f"{text.rstrip()}\n\n## Changes of the code that ideas name\n\n" + "\n".join(map(_code_change, patches))


def _code_change(knob: Knob) -> str:
    both = [
        [part.strip("\n").split("\n") for part in (replacement.find, replacement.replace)]
        for replacement in knob.replacements
    ]
    lines = [line for find, new in both for line in [*unified_diff(find, new, n=len(find), lineterm="")][3:]]
    about = f": {knob.note}" if knob.note else ""
    return "\n".join([f"`{knob.name}`{about}", "", "```diff", *lines, "```", ""])


def training(task: Task) -> str:
    """The command of one training; empty for a script that is never run."""
    if task.run is not None:
        words = task.run.command
        line = words if isinstance(words, str) else shlex.join(words)
        return line.replace("{seed}", "1").replace("{budget}", f"{task.budget_seconds:g}")
    return "python train.py" if task.law is None else ""


def copying(task: str) -> str:
    """The command that writes the folder of a built-in task (as study.toml names it); empty for any other."""
    return f"metaloop task init {task} --like {task}" if task in builtin_tasks() else ""


def copied_first(task: str) -> list[str]:
    """The same as a step of several; none where the folder exists, as after an earlier export."""
    return [copy] if (copy := copying(task)) and not Path(task).exists() else []
