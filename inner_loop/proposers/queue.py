"""The program's own ideas, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inner_loop.contracts import Proposal, ProposerStart, Situation
from programs.ideas import ProgramIdea
from trainer.edits import Edit


class QueueProposer:
    """Proposes each idea that this task knows once; an idea that would change nothing is skipped at no cost."""

    name = "queue"

    def __init__(self, ideas: Sequence[tuple[ProgramIdea, Edit]]) -> None:
        self._waiting = list(ideas)

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        while self._waiting:
            idea, edit = self._waiting.pop(0)
            if situation.allowed(edit):
                return Proposal(edit, self.name, (idea.directive_id,), f"{edit.label()}: {idea.text}")
        return None


def make(start: ProposerStart) -> QueueProposer:
    return QueueProposer(start.ideas)
