"""A program's text for a coding agent, which reads it without Metaloop."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from analysis.study import read_study
from analysis.wording import duration, listed, many
from arena.setup import reference
from inner_loop.keep.margin import card_sd
from programs.charter_edit import take_charter
from programs.charter_prose import END, START
from programs.front_matter import locate
from programs.text import split_lines
from trainer.edits import ROLE, Knob, read_value
from trainer.task import Task, builtin_tasks
from trainer.values.conditional import known

_WORD = re.compile(r"`(@?[A-Za-z_]\w*)(?:(==|!=|<=|>=|=|<|>)([^`?]+))?(\??)`( ?)")
_MARGIN = re.compile(r"\b(one|[\d.]+) standard deviations? of the baseline's metric between training seeds")


@dataclass(frozen=True)
class SeedSpread:
    """The SD of the untouched script's metric between training seeds; ``measured``: where, in words."""

    sd: float
    measured: str = ""


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
    named = [knob for knob in task.edits.knobs if knob.kind == "patch" and f"`{knob.name}`" in text]
    if not named:
        return text
    return f"{text.rstrip()}\n\n## Changes of the code that ideas name\n\n" + "\n".join(map(_code_change, named))


def _code_change(knob: Knob) -> str:
    both = [[part.strip("\n").split("\n") for part in (one.find, one.replace)] for one in knob.replacements]
    lines = [line for find, new in both for line in [*unified_diff(find, new, n=len(find), lineterm="")][3:]]
    about = f": {knob.note}" if knob.note else ""
    return "\n".join([f"`{knob.name}`{about}", "", "```diff", *lines, "```", ""])


def spread(study: Path, task: Task) -> SeedSpread | None:
    """As the task's card has it, because margins are multiples of that, else as the study measured it."""
    if (sd := card_sd(task)) is not None:
        shown = f", which `metaloop task show {task.name}` prints" if copying(reference(task)) else ""
        return SeedSpread(sd, f"by the task's card{shown}")
    with read_study(study, views=()) as con:
        row = con.execute("SELECT sd, trainings FROM seed_noise() WHERE task = ?", [task.name]).fetchone()
    return SeedSpread(row[0], f"{many(row[1], 'training')} of the study") if row and row[0] else None


def stand_alone(text: str, task: Task | None, spread: SeedSpread | None) -> str:
    """The text without what only Metaloop reads (settings, marks), with its margin in the metric's unit, and with the
    task whose settings and values its ideas name: an agent can look up none of these."""
    for _, after in steps_alone(text, task, spread):
        text = after
    return text


def steps_alone(text: str, task: Task | None, spread: SeedSpread | None) -> Iterator[tuple[str, str]]:
    """The steps of `stand_alone`: what each does, and the text after it."""
    lines = take_charter(text, "").split("\n")
    text = "\n".join(line for line in lines if line not in (START, END))
    yield "what only Metaloop reads (settings, marks) is left out", text
    if task is None:
        return
    if spread:
        text = _MARGIN.sub(lambda match: _margin(match[1], spread.sd, task.unit), text)
        yield "margins are in the metric's unit", text
    yield "a paragraph about the task is added", _below_title(text, about(task, spread))


def _margin(number: str, sd: float, unit: str) -> str:
    whose = "of the baseline's metric between training seeds"
    if number in ("one", "1"):
        return f"{sd:.2g} {unit}, one standard deviation {whose}"
    return f"{float(number) * sd:.2g} {unit}, {number} standard deviations ({sd:.2g} {unit}) {whose}"


def about(task: Task, spread: SeedSpread | None) -> str:
    """Which script the ideas are for, where it is, and how it is run."""
    files = listed([f"`{name}`" for name in task.editable])
    said = [f"The settings and values in this program are those of {files} in the task {task.name}."]
    if command := copying(reference(task)):
        said.append(f"`{command}` writes its folder.")
    if command := training(task):
        kind = "CPU" if task.device == "cpu" else "GPU"
        time = f"{duration(task.budget_seconds)} of {kind} time"
        said.append(f"`{command}` in its folder trains once; the study gave each training {time}.")
    noise = ""
    if spread:
        where = f" ({spread.measured})" if spread.measured else ""
        one = "the untouched script has a standard deviation of about"
        noise = f"; {one} {spread.sd:.2g} {task.unit} between training seeds{where}"
    said.append(f"The metric is {task.metric}: {task.direction} is better{noise}.")
    return " ".join(said)


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


def _below_title(text: str, paragraph: str) -> str:
    """The text with a paragraph after its title, or first (behind the front matter of another tool)."""
    lines, end = text.split("\n"), locate(split_lines(text)).end
    title = next((number for number, line in enumerate(lines) if number >= end and line.strip()), end)
    at = title + (title < len(lines) and lines[title].startswith("# "))
    while at < len(lines) and not lines[at].strip():
        at += 1
    return "\n".join([*lines[:at], *[""] * (at > 0 and bool(lines[at - 1].strip())), paragraph, "", *lines[at:]])
