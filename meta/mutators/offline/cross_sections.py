"""Crossover by section: each section from one parent or the other, the whole charter from one of them."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from analysis.evidence.task_evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from programs.common.text import newline_of
from programs.edit import sections
from programs.program import Program
from programs.settings import take_charter
from programs.structure import PATH

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
            # A fair coin for each section, also for one that only one parent has: the first parent's, or the other's.
            every = dict.fromkeys([*split_chapters(first.text), *split_chapters(second.text)])
            text, taken = join_chapters(first, second, {name for name in every if name and rng.random() >= 0.5})
            if not text.strip():
                continue
            if charter_of_second:
                text = take_charter(text, second.text)
            child = first.with_parts(text, second)
            if child.program_id not in (first.program_id, second.program_id):
                names = ", ".join([*["charter"] * charter_of_second, *taken])
                reason = f"from {second.name}: {names or 'no section'}; the rest from {first.name}"
                return ChildProposal(child.document, self.name, reason, (), parent_ids(parents[:2]))
        return None


def join_chapters(first: Program, second: Program, of_second: Container[str]) -> tuple[str, list[str]]:
    """The first parent's text with the named sections of the second, or without them if it has none; and the names of
    those taken. The opening (title and text before the first section) is the first parent's."""
    chapters, others = split_chapters(first.text), split_chapters(second.text)
    front = first.text[: len(first.text) - sum(map(len, chapters.values()))]
    newline, parts, taken = newline_of(first.text), [chapters.pop("", "")], list[str]()
    others.pop("", "")
    for name in dict.fromkeys([*chapters, *others]):
        chosen = (others if name in of_second else chapters).get(name)
        if chosen is not None and name in of_second:
            taken.append(name)
        if chosen:
            parts.append(chosen.replace("\r\n", "\n").replace("\n", newline))
    # A section ends with a blank line, so the next one cannot run into it; the text ends with one line end.
    apart = [part.rstrip("\r\n") + 2 * newline if part.strip() else part for part in parts[:-1]]
    last = parts[-1].rstrip("\r\n") + newline if parts[-1].strip() else parts[-1]
    return front + "".join([*apart, last]), taken


def split_chapters(text: str) -> dict[str, str]:
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


make = CrossSections
