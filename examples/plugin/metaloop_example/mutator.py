"""Deletes the longest statement of a program's prose: what stands beside charter and ideas takes time to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.evidence.task_evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from programs.common.errors import ProgramError
from programs.edit import without


class Shorten:
    name = "shorten"
    share = 0.5  # how often it is asked; ours have 1 together
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        prose = [d for d in parents[0].program.directives if d.kind not in ("charter", "idea", "order")]
        if len(prose) < 2:
            return None
        longest = max(prose, key=lambda directive: len(directive.text))
        try:
            text = without(parents[0].program, longest.directive_id).document
        except ProgramError:  # nothing would be left
            return None
        reason = f"deleted the longest statement: {' '.join(longest.text.split())[:80]}"
        return ChildProposal(text, self.name, reason, (), parent_ids(parents))


make = Shorten
