"""Writes what a knowledge base has learnt into a program: a list of ideas by role, each with where it comes from.

That an idea is expected to help on a task is said by the model of that task's effects (`analysis.coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.coverage import JOINT, LearntIdea, RoleCondition
from analysis.wording import many
from meta.mutators.queue_first import queue_first
from programs.edit import replace_ideas
from programs.program import Program
from programs.structure import ARROW
from trainer.edits import ROLE, Value, format_value

_SIGNS = {"<": "below", ">": "above", "==": ""}


def with_ideas(program: Program, ideas: Sequence[LearntIdea]) -> str:
    """The program's text with these ideas as its list, and the queue first among its proposers."""
    return queue_first(replace_ideas(program.text, [sentence(idea) for idea in ideas]))


def sentence(idea: LearntIdea) -> str:
    """One item of the Ideas list, without its marker."""
    chosen = idea.candidate
    optional = "?" if chosen.optional else ""
    terms = " ".join(_term(role, value) + optional + "`" for role, value in chosen.edit.items())
    where = f"expected to help on {idea.helped} of {many(idea.tried, 'measured task')}: {', '.join(idea.families)}"
    if chosen.optional:
        return f"All at once, as far as the script has them, what helped most: {terms} ({where})."
    if not chosen.conditions:
        return f"{_said(chosen.edit)}: {terms} ({where})."
    conditions = " ".join(f"`{ROLE}{one.role}{one.sign}{_value(one.value)}`" for one in chosen.conditions)
    return f"{_when(chosen.conditions)}: {conditions} {ARROW} {terms} ({where})."


def _term(role: str, value: Value) -> str:
    return f"`{ROLE}{role}" if value is True else f"`{ROLE}{role}={_value(value)}"


def _value(value: Value) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else format_value(value)


def _said(edit: Mapping[str, Value]) -> str:
    if set(edit) == set(JOINT):
        return "Use another optimizer with a learning rate that suits it"
    (role, value), *_ = edit.items()
    return f"Turn on the {_words(role)}" if value is True else f"Change the {_words(role)}"


def _when(conditions: Sequence[RoleCondition]) -> str:
    parts = [
        f"the {_words(one.role)} is {_SIGNS[one.sign]} {_value(one.value)}".replace("  ", " ") for one in conditions
    ]
    return f"When {' and '.join(parts)}"


def _words(role: str) -> str:
    return role.replace("_", " ")
