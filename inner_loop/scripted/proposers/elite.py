"""An evolutionary search over all scripts of the run so far, for long runs: the best ones are crossed and changed.

`elite_edit` makes one step of it for any list of configurations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inner_loop.contracts import CitingProposer, Situation
from inner_loop.events import Experiment, Proposal
from inner_loop.moves import others
from trainer.edits import Edit, EditSpace, Knob, Value

DRAWS = 20
PARENTS = 4  # the best configurations are the possible parents
CROSSOVER = 0.3  # share of the children with two parents
MOST_CHANGED = 3  # knobs that a child changes, from one


class EliteProposer(CitingProposer):
    """Offers nothing before two scripts were trained. Patches of the kept script stay: an edit cannot take them out."""

    name = "elite"

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        best = parents(situation)
        for _ in range(DRAWS if len(best) > 1 else 0):
            child = elite_child(situation.knobs, [record.config for record in best], rng)
            if child is None:
                return None
            wanted = {knob.name: child[1][knob.name] for knob in situation.knobs if knob.name in child[1]}
            edit = situation.space.between(situation.parent.config, wanted)
            if edit and situation.allowed(edit) and not situation.was_tried(edit):
                return Proposal(edit, self.name, self._directive_ids)
        return None


make = EliteProposer


def parents(situation: Situation) -> list[Experiment]:
    """The best different scripts that were trained in full, by their mean over seeds, best first: the first record of
    each."""
    firsts: dict[str, Experiment] = {}
    metrics: dict[str, dict[int, float]] = {}  # source → replicate → metric
    for record in situation.history:
        if record.full and record.metric is not None:
            firsts.setdefault(record.source_id, record)
            metrics.setdefault(record.source_id, {})[record.replicate] = record.metric

    def mean(source_id: str) -> float:
        values = metrics[source_id].values()
        return sum(values) / len(values)

    return [firsts[source_id] for source_id in sorted(firsts, key=lambda name: situation.sign * mean(name))][:PARENTS]


def elite_edit(
    space: EditSpace, parents: Sequence[Mapping[str, Value]], rng: np.random.Generator
) -> tuple[int, Edit] | None:
    """(index of a parent, the edit that makes the child from it); None if no knob of the drawn parent can change."""
    child = elite_child(space.knobs, parents, rng)
    return child and (child[0], space.between(parents[child[0]], child[1]))


def elite_child(
    knobs: Sequence[Knob], parents: Sequence[Mapping[str, Value]], rng: np.random.Generator
) -> tuple[int, dict[str, Value]] | None:
    """(index of a parent, its child); None if no knob of the drawn parent can change. Only ``knobs`` change.

    With crossover each knob comes from one of two parents by a fair coin; a patch stays applied.
    """
    at = int(rng.integers(len(parents)))
    child = dict(parents[at])
    if len(parents) > 1 and rng.random() < CROSSOVER:
        other = parents[(at + 1 + int(rng.integers(len(parents) - 1))) % len(parents)]
        for knob in knobs:
            taken = rng.random() < 0.5 and knob.name in child and knob.name in other
            if taken and (knob.kind != "patch" or other[knob.name]):
                child[knob.name] = other[knob.name]
    movable = [moves for knob in knobs if (moves := others(knob, child))]
    if not movable:
        return None
    count = min(len(movable), int(rng.integers(1, MOST_CHANGED + 1)))
    for number in rng.choice(len(movable), size=count, replace=False):
        move = movable[number][int(rng.integers(len(movable[number])))]
        child[move.knob.name] = move.value
    return at, child
