"""Proposers of the next edit: one per file, made from a `ProposerStart`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inner_loop.contracts import ProposerStart
from inner_loop.proposers._mixture import Mixture
from programs.charter import PROPOSERS

if TYPE_CHECKING:
    from programs.charter import Charter
    from programs.ideas import ProgramIdea
    from trainer.conditional import ConditionalEdit


def make(
    charter: Charter, ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]], because: tuple[str, ...] = ()
) -> Mixture:
    """The charter's mixture. `ideas` are those that the task knows, `because` is cited for all but the queue's."""
    start = ProposerStart(tuple(ideas), because)
    known = {name: PROPOSERS.get(name)(start) for name in charter.proposers}
    return Mixture(charter.proposers, known, fallback=PROPOSERS.get("random")(start))
