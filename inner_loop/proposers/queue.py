"""The program's own ideas, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inner_loop.contracts import Proposal, ProposerStart, Situation
from programs.ideas import ProgramIdea
from trainer.conditional import ConditionalEdit


class QueueProposer:
    """Proposes each idea that this task knows once; an idea that would change nothing is skipped at no cost.

    An idea whose condition does not hold on the parent, or whose relative value has none there, waits: a later parent
    may be another.
    """

    name = "queue"

    def __init__(self, ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]]) -> None:
        self._waiting = list(ideas)

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        for idea, asked in list(self._waiting):
            edit = asked.on(situation.parent.config)
            if edit is None:
                continue
            self._waiting.remove((idea, asked))
            if situation.allowed(edit):
                return Proposal(edit, self.name, (idea.directive_id,), f"{edit.label()}: {idea.text}")
        return None


def make(start: ProposerStart) -> QueueProposer:
    return QueueProposer(start.ideas)
