"""Writes what a knowledge base has learnt into a program: a list of ideas by role, each with where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

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
    where = f"helped on {idea.helped} of {many(idea.tried, 'task')} where it was tried: {', '.join(idea.families)}"
    if chosen.optional:
        return f"All at once, as far as the script has them, what helped most: {terms} ({where})."
    if not chosen.conditions:
        return f"{_said(list(chosen.edit))}: {terms} ({where})."
    conditions = " ".join(f"`{ROLE}{one.role}{one.sign}{_value(one.value)}`" for one in chosen.conditions)
    return f"{_when(chosen.conditions)}: {conditions} {ARROW} {terms} ({where})."


def _term(role: str, value: Value) -> str:
    return f"`{ROLE}{role}" if value is True else f"`{ROLE}{role}={_value(value)}"


def _value(value: Value) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else format_value(value)


def _said(roles: list[str]) -> str:
    if set(roles) == set(JOINT):
        return "Another optimizer with a learning rate that suits it"
    return f"Change the {_words(roles[0])}"


def _when(conditions: Sequence[RoleCondition]) -> str:
    parts = [
        f"the {_words(one.role)} is {_SIGNS[one.sign]} {_value(one.value)}".replace("  ", " ") for one in conditions
    ]
    return f"When {' and '.join(parts)}"


def _words(role: str) -> str:
    return role.replace("_", " ")
