"""The prompt of the environment where no exported data are given."""

from __future__ import annotations

from programs.shelf import starter
from trainer.task import Task

SYSTEM = (
    "You write programs: markdown files that a researcher follows to improve train.py. A program is a front matter "
    "with a `metaloop:` charter, and prose with a list of ideas. Reply with the program between <program> and "
    "</program>."
)


def first_prompt(task: str) -> str:
    """The task with its known edits, and the stock program."""
    known = Task.load(task)
    edits = [
        f"- `{knob.name.lower()}`" + (f": {', '.join(map(str, knob.values))}" if knob.values else ": a patch")
        for knob in known.edits.knobs
    ]
    return "\n".join(
        [
            f"# Task {known.name}", "", known.description, "",
            f"Metric: {known.metric}, {known.direction} is better.", "",
            "Ideas may name these edits, as `name=value` or `name` of a patch:", "", *edits, "",
            "# The stock program", "", starter("stock").text.rstrip(), "",
            "# What to do", "", "Write a program that beats it.",
        ]
    )  # fmt: skip
