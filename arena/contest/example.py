"""The edits that a task offers to ideas, and the program that the page on writing begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from programs.edit import add_directive
from programs.settings import set_charter
from programs.shelf import starter
from trainer.task import Task


class TaskEdit(TypedDict):
    """A row of the table of edits. ``now``: what it is in the untouched script; ``example``: how an idea names it."""

    name: str
    role: str
    group: str
    now: str
    values: str
    example: str


def edits_of(task: Task) -> list[TaskEdit]:
    """The edits that ideas can name, in the task's order."""
    baseline = task.baseline()
    rows: list[TaskEdit] = []
    for knob in task.edits.knobs:
        patch = knob.kind == "patch"
        now = "not applied" if patch else str(knob.read(baseline.text(knob.file)))
        rows.append(
            {
                "name": knob.name,
                "role": knob.role and f"@{knob.role}",
                "group": knob.group,
                "now": now,
                "values": knob.note or "an edit of several lines" if patch else knob.allowed,
                "example": knob.name if patch else f"{knob.name}={other_value(knob.values, now)}",
            }
        )
    return rows


def notation(task: Task) -> str:
    """How an idea names edits, as a list in markdown with examples of the task."""
    edits = edits_of(task)
    two = "`` " + " ".join(f"`{edit['example']}`" for edit in edits[:2]) + " ``"  # with the backticks to type
    rate = next((knob.name for knob in task.edits.knobs if knob.role == "learning_rate"), "NAME")
    return (
        "- An idea may name several edits, each in backticks of its own; they are made together, as one change: "
        f"{two}.\n"
        "- A value has to be listed in the column *Values*; where the column gives a range, any number in it. "
        "An idea with any other value or name is skipped, and the check says so. Names may be in upper or lower "
        "case; tables of experiments have them in lower case.\n"
        f"- `` `{rate}=*3` `` and `` `{rate}=/3` `` multiply and divide the value of the best script so far; "
        f"`` `{rate}=up` `` and `` `{rate}=down` `` take the next listed value. `` `{rate}<0.03` `` is a condition: "
        "the idea is tried only while it holds.\n"
        "- `` `@optimizer=adam` ``, as in ideas learnt on other tasks, names an edit by the column *Role*, whatever "
        "this task calls it. A question mark at the end (`` `@optimizer=adam?` ``) leaves the edit out where the task "
        "has no such role or does not allow the value. Both are allowed here.\n"
        "- That a value is listed does not mean that it works: with some, training crashes, diverges or runs out of "
        "time, with or without other edits. Such an experiment counts as failed and costs its device time; the script "
        "stays as it was.\n"
    )


def other_value(values: Sequence[object], now: str) -> object:
    """A value to begin with: of numbers the one that is closest to twice or half the present one."""
    others = [value for value in values if str(value) != now] or list(values)
    numbers = [v for v in others if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    try:
        present = float(now)
    except ValueError:
        present = 0.0
    if not numbers or present <= 0:
        return others[0]
    return min(numbers, key=lambda v: (abs(abs(math.log2(v / present)) - 1), -v))


def example(task: Task) -> str:
    """A program to begin with: small steps, and one idea that names an edit of the task."""
    text = set_charter(starter("local").text, "proposers", {"queue": 0.5, "local": 0.5})
    edits = edits_of(task)
    return add_directive(text, "Ideas", f"Try `{edits[0]['example']}`.") if edits else text
