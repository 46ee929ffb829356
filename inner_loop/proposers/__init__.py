"""Proposers of the next edit: one per file, made from a `ProposerStart`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inner_loop.contracts import Proposer, ProposerStart
from inner_loop.proposers._mixture import Mixture
from inner_loop.proposers.queue import DoubtedQueue
from programs.charter import PROPOSERS

if TYPE_CHECKING:
    from programs.charter import Charter
    from programs.ideas import ProgramIdea
    from trainer.values.conditional import ConditionalEdit


def make(
    charter: Charter, ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]], because: tuple[str, ...] = ()
) -> Mixture:
    """The charter's mixture. `ideas` are those that the task knows, `because` is cited for all but the queue's."""
    return make_each([charter], ideas, because)[0]


def make_each(
    charters: Sequence[Charter], ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]], because: tuple[str, ...]
) -> list[Mixture]:
    """The mixtures of a run's phases. A proposer that several of them name is made once."""
    start = ProposerStart(tuple(ideas), because)
    names = dict.fromkeys(name for charter in charters for name in charter.proposers)
    known: dict[str, Proposer] = {name: PROPOSERS.get(name)(start) for name in names}
    doubted = {"queue": DoubtedQueue(known["queue"])} if "queue" in known else {}
    fallback = PROPOSERS.get("random")(start)
    return [Mixture(c.proposers, known | doubted if c.doubt_ideas else known, fallback) for c in charters]
