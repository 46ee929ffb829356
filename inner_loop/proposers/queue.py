"""The program's own ideas, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inner_loop.contracts import Proposal, Proposer, ProposerStart, Situation
from programs.ideas import ProgramIdea
from trainer.values.conditional import ConditionalEdit

FIRST_COUNTS = 4.0  # weight of the first idea in the doubt; the n-th has an n-th of it


class QueueProposer:
    """Proposes each idea that this task knows once; an idea that would change nothing is skipped at no cost.

    An idea whose condition does not hold on the parent, or whose relative value has none there, waits: a later parent
    may be another. So does one whose knobs are in the focus of a later phase.
    """

    name = "queue"

    def __init__(self, ideas: Sequence[tuple[ProgramIdea, ConditionalEdit]]) -> None:
        self._waiting = list(ideas)

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        for idea, conditional in list(self._waiting):
            edit = conditional.on(situation.parent.config)
            if edit is None or (situation.focus is not None and not conditional.knobs <= situation.focus):
                continue
            self._waiting.remove((idea, conditional))
            if situation.allowed(edit):
                return Proposal(edit, self.name, (idea.directive_id,), f"{edit.label()}: {idea.text}")
        return None


class DoubtedQueue:
    """The queue, followed with probability (kept + 1) / (tried + 1) by the weights of the ideas of this run so far.

    A list learnt elsewhere may be wrong here. It begins with what it expects most of, so early failures weigh most: a
    list whose ideas all fail is followed with probability 1/5 after the first and about 1/10 after the fifth.
    """

    name = "queue"

    def __init__(self, queue: Proposer) -> None:
        self._queue = queue

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        tried = [record for record in situation.history if record.proposer == self.name and record.full]
        weights = [FIRST_COUNTS / number for number in range(1, len(tried) + 1)]
        kept = sum(weight for weight, record in zip(weights, tried, strict=True) if record.decision == "keep")
        if rng.random() * (sum(weights) + 1) >= kept + 1:
            return None
        return self._queue.propose(situation, rng)


def make(start: ProposerStart) -> QueueProposer:
    return QueueProposer(start.ideas)
