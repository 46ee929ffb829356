"""Reorders a program's ideas by the expected gain of their edits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.evidence.task_evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.edit_gains import GainTable
from meta.mutators.queue_first import queue_first
from programs.edit import reorder_ideas


class ReorderIdeas:
    """Highest expected gain first; ideas without evidence come between positive and negative ones."""

    name = "reorder-ideas"
    share = 0.15
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        program, table = parents[0].program, GainTable(evidence)
        gains = [table.idea(idea) for idea in program.ideas]
        known = sum(gain is not None for gain, _ in gains)
        order = sorted(range(len(gains)), key=lambda i: -(gains[i][0] or 0.0))
        if known < 2 or order == list(range(len(gains))):
            return None
        text = queue_first(reorder_ideas(program.text, order))
        ids = dict.fromkeys(credit_id for _, credit_ids in gains for credit_id in credit_ids)
        reason = f"{len(gains)} ideas ordered by expected gain; {known} of them were tried"
        return ChildProposal(text, self.name, reason, tuple(ids), parent_ids(parents))


make = ReorderIdeas
