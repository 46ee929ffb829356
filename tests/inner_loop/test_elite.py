"""A child of an elite search: parents, crossover and changed knobs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from inner_loop.moves import changed
from inner_loop.scripted.proposers.elite import CROSSOVER, MOST_CHANGED, elite_edit
from trainer.edits import EditSpace, Knob

LADDERS = tuple(Knob(f"L{i}", "float", (0.0, 0.1, 1.0, 2.0, 3.0)) for i in range(12))
SPACE = EditSpace((*LADDERS, Knob("patch", "patch", (True,))))
LOW = {**{knob.name: 0.0 for knob in LADDERS}, "patch": False}
HIGH = {**{knob.name: 3.0 for knob in LADDERS}, "patch": True}


def test_a_child_of_one_parent_changes_one_to_three_knobs() -> None:
    rng = np.random.default_rng(1)
    sizes: Counter[int] = Counter()
    for _ in range(300):
        drawn = elite_edit(SPACE, [LOW], rng)
        assert drawn is not None and drawn[0] == 0
        sizes[len(list(changed(drawn[1])))] += 1
    assert set(sizes) == set(range(1, MOST_CHANGED + 1)) and min(sizes.values()) > 50


def test_share_of_children_has_knobs_of_two_parents_and_a_patch() -> None:
    rng = np.random.default_rng(2)
    crossed, first = 0, Counter[int]()
    for _ in range(1000):
        drawn = elite_edit(SPACE, [LOW, HIGH], rng)
        assert drawn is not None
        at, edit = drawn
        first[at] += 1
        crossed += len(list(changed(edit))) > MOST_CHANGED
        assert at == 0 or edit.apply == ()  # the other parent has no patch, and an edit cannot take it away
        other = 3.0 if at == 0 else 0.0
        taken = sum(value == other for value in edit.set.values())
        assert len(list(changed(edit))) <= MOST_CHANGED or taken >= 1
    assert crossed / 1000 == pytest.approx(CROSSOVER, abs=0.06) and min(first.values()) > 400


def test_it_gives_up_where_nothing_can_change() -> None:
    rng = np.random.default_rng(3)
    assert elite_edit(EditSpace((Knob("patch", "patch", (True,)),)), [{"patch": True}], rng) is None
    assert elite_edit(EditSpace(), [{}], rng) is None
