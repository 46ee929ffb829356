"""``learn-ideas``: the list learnt anew from every task that a study over families has used so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.wording import many
from meta.learnt import Relearnt, with_list
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.evidence import Evidence


class LearnIdeas:
    """Ideas by role, which can be followed on every task whose knobs have roles."""

    name = "learn-ideas"
    parents = 1

    def __init__(self, learnt: Relearnt) -> None:
        self.learnt = learnt

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        if not self.learnt.items:
            return None
        reason = f"ideas learnt anew, also from {many(self.learnt.tasks, 'task')} of this study"
        text = with_list(parents[0].program, self.learnt.items)
        return ChildProposal(text, self.name, reason, (), parent_ids(parents))
