"""Small steps from the kept source: the next ladder value, preferring steps that helped before."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from inner_loop.contracts import CitingProposer, Situation
from inner_loop.events import Experiment, Proposal
from inner_loop.moves import Move, changed, direction, neighbours
from trainer.edits import Value

#: Weights of a further step in a direction of that knob that was kept, and that was not kept.
HELPED, FAILED = 4.0, 0.5
#: Weights of a value that was tried on another source and not kept, and of a source that was tried already.
STALE, TRIED = 0.4, 0.05


class LocalProposer(CitingProposer):
    """Draws one neighbouring value with weights from this run's history; ladders have no memory of other runs."""

    name = "local"

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        moves = [
            move
            for knob in situation.knobs
            for move in neighbours(knob, situation.parent.config)
            if situation.allowed(move.edit)
        ]
        if not moves:
            return None
        lessons = _lessons(situation)
        weights = np.array([_weight(move, lessons.get(move.knob.name, []), situation) for move in moves])
        chosen = moves[rng.choice(len(moves), p=weights / weights.sum())]
        return Proposal(chosen.edit, self.name, self._directive_ids)


make = LocalProposer


def _lessons(situation: Situation) -> dict[str, list[tuple[Experiment, Value]]]:
    """Knob → the experiments that set it, each with the value."""
    lessons: dict[str, list[tuple[Experiment, Value]]] = defaultdict(list)
    for record in situation.history:
        if record.decision in ("keep", "discard", "screen"):
            for name, value in changed(record.edit):
                lessons[name].append((record, value))
    return lessons


def _weight(move: Move, lessons: list[tuple[Experiment, Value]], situation: Situation) -> float:
    """The product of the weights from history; 1 for an untouched knob."""
    if situation.was_tried(move.edit):
        return TRIED
    weight = 1.0
    for record, value in lessons:
        weight *= _lesson(move, record, value, situation)
    return max(weight, TRIED)


def _lesson(move: Move, record: Experiment, value: Value, situation: Situation) -> float:
    """The weight of a move from one earlier experiment on the same knob."""
    before = situation.history[record.parent_number].config if record.parent_number is not None else {}
    old = before.get(move.knob.name)
    went = direction(move.knob, old, value) if old is not None else 0
    if record.decision == "keep":
        return HELPED if went and went == move.direction else 1.0
    if value == move.value:
        return STALE
    return FAILED if went and went == move.direction else 1.0
