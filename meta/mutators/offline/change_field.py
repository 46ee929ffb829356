"""Changes one field of the charter, or a few that mean nothing apart, to another sensible value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meta.mutators.base import Parent, Proposal, parent_ids
from meta.mutators.charter_moves import carry_out, moves, told

if TYPE_CHECKING:
    import numpy as np

    from analysis.evidence import Evidence


class ChangeField:
    name = "change-field"
    share = 0.20
    parents = 1

    def propose(self, parents: Sequence[Parent], evidence: Evidence, rng: np.random.Generator) -> Proposal | None:
        program = parents[0].program
        # First the field, then its value: a field with many values is no likelier to be changed than one with two.
        by_fields: dict[tuple[str, ...], list[int]] = {}
        choices = moves(program.charter)
        for place, move in enumerate(choices):
            by_fields.setdefault(tuple(sorted(move)), []).append(place)
        places = list(by_fields.values())[int(rng.integers(len(by_fields)))]
        move = choices[places[int(rng.integers(len(places)))]]
        text = carry_out(program.text, move)
        return Proposal(text, self.name, told(program.charter, move), (), parent_ids(parents))


make = ChangeField
