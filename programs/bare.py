"""A program without its ideas: only its process, to measure how much of the gain the idea list causes."""

from __future__ import annotations

from collections.abc import Mapping

from programs.edit import replace_ideas, set_charter, unset_charter
from programs.program import Program


def without_ideas(program: Program) -> Program:
    """The program with an empty idea list and without the proposer ``queue``, in its phases too."""
    text = replace_ideas(program.text, [])
    if "queue" in program.charter.proposers:
        rest = _others(program.charter.proposers)
        text = set_charter(text, "proposers", rest) if rest else unset_charter(text, "proposers")
    phases = program.charter.get("phases")
    bare = [{n: _others(v) if n == "proposers" else v for n, v in phase.items()} for phase in phases]
    if bare != phases:
        text = set_charter(text, "phases", [{n: v for n, v in phase.items() if v != {}} for phase in bare])
    return program.with_text(text, f"{program.name}-without-ideas")


def _others(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: share for name, share in shares.items() if name != "queue"}
