"""One step of an elite search: a child of the best configurations so far, by crossover and a few changed knobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from inner_loop.moves import others
from trainer.edits import Edit, EditSpace, Knob, Value

PARENTS = 4  # the best configurations are the possible parents
CROSSOVER = 0.3  # share of the children with two parents
MOST_CHANGED = 3  # knobs that a child changes, from one


def elite_edit(
    space: EditSpace, parents: Sequence[Mapping[str, Value]], rng: np.random.Generator
) -> tuple[int, Edit] | None:
    """(index of a parent, the edit that makes the child from it); None if no knob of the drawn parent can change."""
    made = elite_child(space.knobs, parents, rng)
    return made and (made[0], space.between(parents[made[0]], made[1]))


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
