"""The Ideas list: the edits that a program proposes, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from programs.directives import Directive, blocks_by_id
from programs.structure import Outline


@dataclass(frozen=True)
class ProgramIdea:
    """One item of the Ideas list. ``terms``: its backticked words (``lr=2e-3``, ``muon``), which a task interprets."""

    text: str
    directive_id: str
    line: int
    terms: tuple[str, ...]


def collect(parsed: Outline, directives: Sequence[Directive]) -> tuple[ProgramIdea, ...]:
    blocks = blocks_by_id(parsed, directives)
    return tuple(
        ProgramIdea(d.text, d.directive_id, d.line, tuple(blocks[d.directive_id].terms))
        for d in directives
        if d.kind == "idea"
    )
