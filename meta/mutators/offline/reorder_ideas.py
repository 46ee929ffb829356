"""Reorders a program's ideas by the expected gain of their edits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.report.evidence import Evidence
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
        gains = [table.idea(idea.directive_id, idea.terms) for idea in program.ideas]
        known = [gain for gain in gains if gain is not None]
        order = sorted(range(len(gains)), key=lambda i: -(gains[i] or 0.0))
        if len(known) < 2 or order == list(range(len(gains))):
            return None
        text = queue_first(reorder_ideas(program.text, order))
        ids = dict.fromkeys(c for idea in program.ideas for c in table.credit_ids(idea.directive_id, idea.terms))
        reason = f"{len(gains)} ideas ordered by expected gain; {len(known)} of them were tried"
        return ChildProposal(text, self.name, reason, tuple(ids), parent_ids(parents))


make = ReorderIdeas
