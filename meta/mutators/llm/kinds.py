"""The operators: what each requests, and how its child must relate to its parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meta.mutators.llm.assemble import anything, only_added, only_deleted, shorter
from programs.program import Program


@dataclass(frozen=True)
class Kind:
    """``check`` (first parent, child) returns the problem. ``readers``: only if the researcher reads prose."""

    name: str
    payload: str  # program, section, merge
    parents: int = 1
    check: Callable[[Program, Program], str] = anything
    readers: bool = False

    @property
    def prompt(self) -> str:
        return f"{self.name}.md.j2"


KINDS = (
    Kind("rewrite", "section"),
    Kind("add", "section", check=only_added),
    Kind("delete", "section", check=only_deleted),
    Kind("merge", "merge", parents=2),
    Kind("distil", "program", check=shorter, readers=True),
    Kind("repair", "program"),
    Kind("bold", "program"),
)


def kind(name: str) -> Kind:
    return next(k for k in KINDS if k.name == name)


def offered(researcher: str) -> tuple[Kind, ...]:
    """Kinds that can change what this researcher does, except repair, which is used for broken programs."""
    return tuple(k for k in KINDS if k.name != "repair" and (researcher != "scripted" or not k.readers))
