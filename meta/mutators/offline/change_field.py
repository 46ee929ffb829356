"""Changes one field of the charter, or a group that only works together, to another sensible value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.charter_moves import carry_out, describe, moves

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.evidence import Evidence


class ChangeField:
    name = "change-field"
    share = 0.20
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        program = parents[0].program
        # First the field, then its value: a field with many values is as likely to be changed as one with two.
        by_fields: dict[tuple[str, ...], list[int]] = {}
        choices = moves(program.charter)
        for index, move in enumerate(choices):
            by_fields.setdefault(tuple(sorted(move)), []).append(index)
        indices = list(by_fields.values())[int(rng.integers(len(by_fields)))]
        move = choices[indices[int(rng.integers(len(indices)))]]
        text = carry_out(program.text, move)
        return ChildProposal(text, self.name, describe(program.charter, move), (), parent_ids(parents))


make = ChangeField
