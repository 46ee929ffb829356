"""Writes what a knowledge base has learnt into a program: a list of ideas by role, each with where it comes from.

Whether an idea gains on a task is estimated by the model of that task's effects (`analysis.knowledge.choose`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analysis.knowledge.choose import JOINT, LearntIdea, choose, task_values
from analysis.knowledge.store import SHIPPED, family_of, files_of, read
from analysis.wording import many
from arena.study.settings import UsedKnowledge
from meta.breed import has_edit
from meta.mutators.edit_gains import parse_idea
from meta.mutators.queue_first import queue_first
from programs.common.text import listed
from programs.edit import append_ideas, replace_ideas
from programs.program import Program
from programs.settings import set_charter
from programs.shelf import in_library
from programs.structure import ARROW
from trainer.edits import ROLE, Value, format_value
from trainer.task import Task

_TASK_ID = re.compile(r"t[0-9a-f]{12}")
_SIGNS = {"<": "below ", ">": "above ", "==": ""}


@dataclass(frozen=True)
class Learnt:
    """A program with ideas learnt on measured tasks, and what a study records about them."""

    program: Program
    used: UsedKnowledge


def learnt_for(
    base: Program,
    tasks: Sequence[Task],
    reserve: Sequence[Task] = (),
    folders: Sequence[Path] = (SHIPPED,),
    without: Sequence[str] = (),
) -> Learnt | None:
    """``base`` with the ideas that one of ``tasks`` can follow after its own, in place of those of a program of the
    library; None if there are none, as where no knob has a role.

    What comes from a held-out task or its family is left out: a held-out task is one that nothing was learnt from. So
    is what comes from a task or family of ``without``.
    """
    if not any(knob.role for task in tasks for knob in task.edits.knobs):
        return None
    masked = {name for task in reserve for name in (task.name, task.task_id, family_of(task))} | {*without}
    files = files_of(folders)
    items, families, measured = _chosen(tuple(folders), tuple(files), frozenset(masked))
    is_own = not in_library(base)
    known = {(idea.terms, idea.conditions) for idea in base.ideas if is_own}
    followed = [
        item
        for item in items
        if (idea := parse_idea(item))
        and (idea.terms, idea.conditions) not in known
        and any(has_edit(idea, task) for task in tasks)
    ]
    if not followed:
        return None
    program = base.with_text(with_list(base, followed, is_own), f"{base.name}-learnt")
    used = UsedKnowledge(
        files=[file.name for file in files],
        families=list(families),
        tasks=measured,
        without=sorted(masked),
        program_id=program.program_id,
    )
    return Learnt(program, used)


@lru_cache(maxsize=8)
def _chosen(
    folders: tuple[Path, ...], files: tuple[Path, ...], without: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """(sentences of the ideas, families, number of tasks) of knowledge bases; ``files``, named by their content, are
    what makes them different."""
    effects = read(folders, without=without)
    items = tuple(sentence(idea) for idea in choose(task_values(effects)))
    return items, tuple(sorted({effect.family for effect in effects})), len({effect.task_id for effect in effects})


def in_words(used: UsedKnowledge, tasks: Sequence[Task] = ()) -> str:
    """For a plan: ``36 measured tasks of letters, strokes, among them tasks of the family of strokes; nothing from
    tabular``. ``tasks``: of the study."""
    names = [name for name in used.without if not _TASK_ID.fullmatch(name)]
    without = f"; nothing from {', '.join(names)}" if names else ""
    known = [task for task in tasks if family_of(task) in used.families]
    like = [f"tasks of the family of {task.name}" if task.family else f"{task.name} itself" for task in known]
    among = f", among them {listed(like)}" if like else ""
    return f"{many(used.tasks, 'measured task')} of {', '.join(used.families)}{among}{without}"


def with_list(program: Program, items: Sequence[str], own_first: bool = False) -> str:
    """The program's text with these items as its list, or behind its own ones. The list comes first as long as its
    ideas do not fail."""
    text = (append_ideas if own_first else replace_ideas)(program.text, items)
    return set_charter(queue_first(text), "doubt_ideas", True)


def sentence(idea: LearntIdea) -> str:
    """One item of the Ideas list, without its marker."""
    chosen = idea.candidate
    end = "?`" if chosen.optional else "`"
    terms = " ".join(
        f"`{ROLE}{role}{'' if value is True else f'={value_text(value)}'}{end}" for role, value in chosen.edit.items()
    )
    where = f"estimated to help on {idea.helped} of {many(idea.tried, 'measured task')}: {', '.join(idea.families)}"
    if chosen.optional:
        return f"All at once, as far as the script has them, what helped most: {terms} ({where})."
    if not chosen.conditions:
        return f"{_said(chosen.edit)}: {terms} ({where})."
    conditions = " ".join(
        f"`{ROLE}{condition.role}{condition.sign}{value_text(condition.value)}`" for condition in chosen.conditions
    )
    cases = (
        f"the {_words(condition.role)} is {_SIGNS[condition.sign]}{value_text(condition.value)}"
        for condition in chosen.conditions
    )
    return f"When {' and '.join(cases)}: {conditions} {ARROW} {terms} ({where})."


def value_text(value: Value) -> str:
    """A value as an idea writes it; for a patch, whether it is applied."""
    return ("on" if value else "off") if isinstance(value, bool) else format_value(value)


def _said(edit: Mapping[str, Value]) -> str:
    if set(edit) == set(JOINT):
        return "Use another optimizer with a learning rate that suits it"
    (role, value), *_ = edit.items()
    return f"Turn on the {_words(role)}" if value is True else f"Change the {_words(role)}"


def _words(role: str) -> str:
    return role.replace("_", " ")
