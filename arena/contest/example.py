"""The edits that a task offers to ideas, and the program that the page on writing begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from programs.edit import append_ideas
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
    return append_ideas(text, [f"Try `{edits[0]['example']}`."]) if edits else text
