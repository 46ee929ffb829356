"""Crossover by section: each section from one parent or the other, the whole charter from one of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from programs.edit import sections, take_charter
from programs.program import Program
from programs.structure import PATH
from programs.text import newline_of, with_newline

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.evidence import Evidence

TRIES = 8


class CrossSections:
    name = "cross-sections"
    share = 0.10
    parents = 2

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        first, second = (parent.program for parent in parents[:2])
        for _ in range(TRIES):
            charter_of_second = bool(rng.random() < 0.5)
            text, taken = crossed(first, second, rng)
            if not text.strip():
                continue
            if charter_of_second:
                text = take_charter(text, second.text)
            child = first.with_parts(text, second)
            if child.program_id not in (first.program_id, second.program_id):
                names = [*["charter"] * charter_of_second, *(name or "opening" for name in taken)]
                return ChildProposal(
                    child.document, self.name, _reason(first.name, second.name, names), (), parent_ids(parents[:2])
                )
        return None


def _reason(first: str, second: str, names: Sequence[str]) -> str:
    if not names:
        return f"sections of {first} that {second} does not have dropped"
    which = f"section {names[0]} is" if len(names) == 1 else f"sections {', '.join(names[:-1])} and {names[-1]} are"
    return f"{which} from {second}, the rest from {first}"


def crossed(first: Program, second: Program, rng: np.random.Generator) -> tuple[str, list[str]]:
    """The first parent's text with a fair coin for each section: its own, or the other's with that name.

    A section that only one parent has is included by the same coin. The opening (title and text before the first
    section) is the first parent's. Returns the text and the names of the second parent's sections.
    """
    own, other = chapters(first.text), chapters(second.text)
    names = [*own, *(name for name in other if name not in own)]
    return joined(first, second, {name for name in names if name and rng.random() >= 0.5})


def joined(first: Program, second: Program, of_second: Container[str]) -> tuple[str, list[str]]:
    """The first parent's text with the named sections of the second, or without them if it has none."""
    own, other = chapters(first.text), chapters(second.text)
    front = first.text.removesuffix("".join(s.text for s in sections(first.text)))
    newline, out, taken = newline_of(first.text), [own.pop("", "")], []
    other.pop("", "")
    for name in [*own, *(name for name in other if name not in own)]:
        if name not in of_second:
            chosen = own.get(name)
        else:
            chosen = other.get(name)
            taken += [name] if chosen is not None else []
        if chosen:
            out.append(with_newline(chosen.replace("\r\n", "\n"), newline))
    return front + "".join(_apart(part, newline, last=i == len(out) - 1) for i, part in enumerate(out)), taken


def chapters(text: str) -> dict[str, str]:
    """Top sections with their nested content; "" is the opening, including the title."""
    titles = {d.heading.split(PATH)[0] for d in Program.parse(text).directives}
    chapters: dict[str, str] = {}
    current = ""
    for section in sections(text):
        top = section.heading.split(PATH)[0]
        is_title = section.level == 1 and not current and top not in titles
        current = "" if section.level == 0 or is_title else top
        chapters[current] = chapters.get(current, "") + section.text
    return chapters


def _apart(part: str, newline: str, last: bool) -> str:
    """A section ends with a blank line, so the next one cannot run into it; the text ends with one line end."""
    return part.rstrip("\r\n") + newline * (1 if last else 2) if part.strip() else part


make = CrossSections
