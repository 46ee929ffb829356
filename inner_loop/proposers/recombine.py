"""Combines edits with a gain that are not part of the parent: kept on another branch, or nearly kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inner_loop.contracts import CitingProposer, Proposal, Situation
from inner_loop.moves import changed
from inner_loop.record import Record
from trainer.edits import Edit, Value

#: How many of the best edits are candidates, and how many are joined at most.
POOL, JOINED = 5, 3
#: A near miss is among this share of the edits that were not kept, by gain over its own parent.
NEAR = 1 / 3


class RecombineProposer(CitingProposer):
    """The union of two or three such edits of this run, better ones first where two set the same knob."""

    name = "recombine"

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        pool = [edit for edit in self._pool(situation) if situation.allowed(edit)][:POOL]
        for _ in range(2 * POOL):
            if len(pool) < 2:
                return None
            count = min(len(pool), int(rng.integers(2, JOINED + 1)))
            chosen = sorted(rng.choice(len(pool), size=count, replace=False))
            edit = union([pool[at] for at in chosen])
            if situation.allowed(edit) and not situation.was_tried(edit):
                return Proposal(edit, self.name, self._because)
        return None

    def _pool(self, situation: Situation) -> list[Edit]:
        """Edits by descending gain: those kept on other branches and the near misses; each once."""
        full = [r for r in situation.history if r.number > 0 and r.edit and r.full and r.ok]
        gained = {r.number: _gain(r, situation) for r in full}
        kept = [r for r in full if r.decision == "keep"]
        missed = sorted((r for r in full if r.decision in ("discard", "undecided")), key=lambda r: -gained[r.number])
        near = [r for at, r in enumerate(missed) if at < NEAR * len(missed) or gained[r.number] > 0]
        ordered = sorted(kept + near, key=lambda r: -gained[r.number])
        return list(dict.fromkeys(record.edit for record in ordered))


make = RecombineProposer


def union(edits: Sequence[Edit]) -> Edit:
    """All edits in one; if two set the same knob, the earlier edit's value counts."""
    values: dict[str, Value] = {}
    patches: list[str] = []
    for edit in edits:
        for name, value in changed(edit):
            if name in edit.apply:
                patches += [name] if name not in patches else []
            else:
                values.setdefault(name, value)
    return Edit(values, tuple(patches))


def _gain(record: Record, situation: Situation) -> float:
    """Gain over the parent that it was tried on, in metric units."""
    parent = situation.history[record.parent] if record.parent is not None else None
    if parent is None or parent.metric is None or record.metric is None:
        return float("-inf")
    return situation.sign * (parent.metric - record.metric)
