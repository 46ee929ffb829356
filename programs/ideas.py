"""The Ideas list: the edits that a program proposes, in order, each with the conditions under which it does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from programs.directives import Directive
from programs.patches import ProgramPatch, by_edit_name
from programs.structure import ARROW, Outline

_COMPARED = re.compile(r"(@?[A-Za-z_]\w*)\s*(<=|>=|==|!=|<|>|=|:)\s*(\S.*)")
_FOR = re.compile(r"[*_]*for\s+(?:the\s+)?([^:\n`]{1,60}):[*_]*(?:\s|$)", re.IGNORECASE)
_BARE = re.compile(r"\+?\s*(@?[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Comparison:
    """A condition as it is written: ``lr<0.03``. ``name``: a knob, or a role with ``@``."""

    name: str
    sign: str  # <, <=, >, >=, == or !=
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value}"


@dataclass(frozen=True)
class ProgramIdea:
    """One item of the Ideas list, as a task interprets it.

    ``terms``: the backticked words that name edits (``lr=2e-3``, ``lr=*3``, ``muon``); ``conditions``: those that say
    when the idea holds, written as comparisons, or before an arrow.
    """

    text: str
    directive_id: str
    line: int
    terms: tuple[str, ...]
    conditions: tuple[Comparison, ...] = ()
    role: str = ""  # the name before the colon of "for NAME: …", whether or not a role has it


def read_ideas(
    parsed: Outline, directives: Sequence[Directive], patches: Sequence[ProgramPatch] = ()
) -> tuple[ProgramIdea, ...]:
    ideas = []
    blocks = [block for block in parsed.blocks if block.kind == "idea"]
    for d, block in zip((d for d in directives if d.kind == "idea"), blocks, strict=True):
        terms, conditions = split(block.terms)
        terms = by_edit_name(terms, patches)
        ideas.append(ProgramIdea(d.text, d.directive_id, d.line, terms, conditions, addressed_to(d.text)))
    return tuple(ideas)


def addressed_to(text: str) -> str:
    """The name that an idea begins with, written ``for critic: …``; empty without one."""
    match = _FOR.match(text)
    return match[1].strip("*_ ") if match else ""


def split(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[Comparison, ...]]:
    """The edits and the conditions among the backticked words of an idea.

    Before an arrow, ``optimizer=sgd`` and ``conv`` are conditions, too: the optimizer is sgd, the patch is applied.
    """
    words = list(words)
    arrow = words.index(ARROW) if ARROW in words else 0
    terms: list[str] = []
    conditions: list[Comparison] = []
    for at, word in enumerate(words):
        condition = compared(word, before_arrow=at < arrow)
        if condition is not None:
            conditions.append(condition)
        elif word != ARROW:
            terms.append(word)
    return tuple(terms), tuple(conditions)


def compared(word: str, *, before_arrow: bool = False) -> Comparison | None:
    """The condition that a backticked word states; None if it names an edit, or neither."""
    word = word.strip()
    if match := _COMPARED.fullmatch(word):
        name, sign, value = match.groups()
        if sign in "=:":
            return Comparison(name, "==", value) if before_arrow else None
        return Comparison(name, sign, value)
    bare = _BARE.fullmatch(word) if before_arrow else None
    return Comparison(bare[1], "==", "true") if bare else None
