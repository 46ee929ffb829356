"""A program without its ideas: only its process, to measure how much of the gain the idea list causes."""

from __future__ import annotations

from programs.edit import replace_ideas, set_charter, unset_charter
from programs.program import Program


def without_ideas(program: Program) -> Program:
    """The program with an empty idea list and without the proposer ``queue``."""
    text = replace_ideas(program.text, [])
    if "queue" in program.charter.proposers:
        rest = {k: v for k, v in program.charter.proposers.items() if k != "queue"}
        text = set_charter(text, "proposers", rest) if rest else unset_charter(text, "proposers")
    return Program.parse(text, f"{program.name}-without-ideas")
