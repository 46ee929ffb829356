"""The program's own ideas, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inner_loop.contracts import Proposer, ProposerStart, Situation
from inner_loop.events import Experiment, Proposal
from programs.ideas import ProgramIdea
from trainer.edits import Edit
from trainer.values.conditional import ConditionalEdit

QueuedIdea = tuple[ProgramIdea, ConditionalEdit]
FIRST_COUNTS = 4.0  # weight of the first idea in the doubt; the n-th has an n-th of it


class QueueProposer:
    """Proposes each idea that this task knows once; an idea that would change nothing is skipped at no cost.

    An idea whose condition does not hold on the parent, or whose relative value has none there, waits: a later parent
    may be another. An idea whose gain was not resolved is proposed once more, on a later parent, when there is no other
    one.
    """

    name = "queue"

    def __init__(self, ideas: Sequence[QueuedIdea], program_id: str = "") -> None:
        self._waiting, self._tried = list(ideas), list[QueuedIdea]()
        self._program_id = program_id

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        for idea, conditional in list(self._waiting):
            if (edit := conditional.on(situation.parent.config)) is None:
                continue
            self._waiting.remove((idea, conditional))
            if situation.allowed(edit):
                self._tried.append((idea, conditional))
                return self._proposal(idea, edit)
        for idea, conditional in list(self._tried):
            edit = conditional.on(situation.parent.config)
            if edit is None or not self._may_come_again(idea, situation) or not situation.allowed(edit):
                continue
            self._tried.remove((idea, conditional))
            return self._proposal(idea, edit)
        return None

    def _proposal(self, idea: ProgramIdea, edit: Edit) -> Proposal:
        return Proposal(edit, self.name, (idea.directive_id,), f"{edit.label()}: {idea.text}")

    def _may_come_again(self, idea: ProgramIdea, situation: Situation) -> bool:
        """Whether the last experiment of an idea is undecided, and was made on another parent than that of now."""
        records = [r for r in own_queued(situation, self._program_id) if idea.directive_id in r.directive_ids]
        if not records or records[-1].decision != "undecided" or records[-1].parent_number is None:
            return False
        return situation.history[records[-1].parent_number].source != situation.parent.source


def own_queued(situation: Situation, program_id: str) -> list[Experiment]:
    """The experiments of this run that came from the queue of this program, not of another one that takes turns."""
    queued = (record for record in situation.history if record.proposer == QueueProposer.name)
    return [record for record in queued if record.program_id in (None, program_id)]


class DoubtedQueue:
    """The queue, followed with probability (kept + 1) / (tried + 1) by the weights of the ideas of this run so far.

    A list learnt elsewhere may be wrong here. It begins with what it expects most of, so early failures weigh most: a
    list whose ideas all fail is followed with probability 1/5 after the first and about 1/10 after the fifth.
    """

    name = "queue"

    def __init__(self, queue: Proposer, program_id: str = "") -> None:
        self._queue, self._program_id = queue, program_id

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        tried = [record for record in own_queued(situation, self._program_id) if record.full]
        weights = [FIRST_COUNTS / number for number in range(1, len(tried) + 1)]
        kept = sum(weight for weight, record in zip(weights, tried, strict=True) if record.decision == "keep")
        if rng.random() * (sum(weights) + 1) >= kept + 1:
            return None
        return self._queue.propose(situation, rng)


def make(start: ProposerStart) -> QueueProposer:
    return QueueProposer(start.ideas, start.program_id)
