"""The value that lies farthest on its ladder from the one in use: quick to show which knobs matter at all."""

from __future__ import annotations

import numpy as np

from inner_loop.contracts import ProposerStart, Situation
from inner_loop.events import Proposal
from inner_loop.moves import others, rung


class Farthest:
    """Knobs come in an order drawn from the run's generator."""

    name = "farthest"

    def __init__(self, directive_ids: tuple[str, ...]) -> None:
        self.directive_ids = directive_ids  # the directives that its proposals cite

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        for place in rng.permutation(len(situation.knobs)):
            knob, config = situation.knobs[place], situation.parent.config
            moves = others(knob, config)
            for move in sorted(moves, key=lambda m: -abs(rung(m.knob, m.value) - rung(m.knob, m.old))):
                if situation.allowed(move.edit):
                    return Proposal(move.edit, self.name, self.directive_ids)
        return None


def make(start: ProposerStart) -> Farthest:
    return Farthest(start.directive_ids)
