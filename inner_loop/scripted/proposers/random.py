"""One random knob at a time: the stock loop's proposals."""

from __future__ import annotations

import numpy as np

from inner_loop.contracts import CitingProposer, Situation
from inner_loop.events import Proposal
from inner_loop.moves import others


class RandomProposer(CitingProposer):
    """A knob drawn uniformly, then one of its other values drawn uniformly (a patch: applied)."""

    name = "random"

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        for at in rng.permutation(len(situation.knobs)):
            moves = others(situation.knobs[at], situation.parent.config)
            edits = [move.edit for move in moves if situation.allowed(move.edit)]
            if edits:
                return Proposal(edits[rng.integers(len(edits))], self.name, self._directive_ids)
        return None


make = RandomProposer
