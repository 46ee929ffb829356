"""Proposers of the next edit: one per file, made from a `ProposerStart`; and their mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from inner_loop.contracts import Proposer, ProposerStart, Situation
from inner_loop.events import Proposal
from inner_loop.scripted.proposers.queue import DoubtedQueue
from programs.charter import PROPOSERS

if TYPE_CHECKING:
    from programs.charter import Charter
    from programs.ideas import ProgramIdea
    from trainer.values.conditional import ConditionalEdit


def make(
    charter: Charter,
    ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]],
    directive_ids: tuple[str, ...] = (),
    program_id: str = "",
) -> Mixture:
    """The charter's mixture. `ideas` are those that the task knows, `directive_ids` are cited for all but the queue's.
    ``program_id``: in a night, of the experiments that are the program's own."""
    start = ProposerStart(tuple(ideas), directive_ids, program_id)
    known: dict[str, Proposer] = {name: PROPOSERS.get(name)(start) for name in charter.proposers}
    if charter.doubt_ideas and "queue" in known:
        known["queue"] = DoubtedQueue(known["queue"], program_id)
    return Mixture(charter.proposers, known, PROPOSERS.get("random")(start))


class Mixture:
    """Draws one proposer by share. If it has nothing to offer, the others are drawn; if none has, the fallback."""

    name = "mixture"

    def __init__(self, shares: Mapping[str, float], proposers: Mapping[str, Proposer], fallback: Proposer) -> None:
        self._shares = dict(shares)
        self._proposers = dict(proposers)
        self._fallback = fallback

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        open_shares = dict(self._shares)
        while open_shares:
            name = _draw(open_shares, rng)
            if proposal := self._proposers[name].propose(situation, rng):
                return proposal
            del open_shares[name]
        return self._fallback.propose(situation, rng)


def _draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    names = list(shares)
    if len(names) == 1:
        return names[0]
    weights = np.array([shares[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]
