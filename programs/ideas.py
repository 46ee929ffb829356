"""The Ideas list: what a program wants tried, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from programs.directives import Directive, blocks_by_id
from programs.structure import Outline


@dataclass(frozen=True)
class Idea:
    """One item of the Ideas list. ``terms``: its backticked words (``lr=2e-3``, ``muon``), for a task."""

    text: str
    directive_id: str
    line: int
    terms: tuple[str, ...]


def collect(found: Outline, directives: Sequence[Directive]) -> tuple[Idea, ...]:
    blocks = blocks_by_id(found, directives)
    return tuple(
        Idea(d.text, d.directive_id, d.line, tuple(blocks[d.directive_id].terms))
        for d in directives
        if d.kind == "idea"
    )
