"""The charter's rules about groups of knobs: which ones the next experiment leaves alone, and the leap at a plateau."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inner_loop.contracts import Proposal, Situation
from inner_loop.moves import changed, others
from inner_loop.record import Record
from programs.charter import Charter
from trainer.edits import Edit, EditSpace

if TYPE_CHECKING:
    import numpy as np

LEAP = "plateau"  # the proposer of an experiment that changes several knobs at once
LEAP_KNOBS = 3
DRAWS = 20
DECIDED = ("keep", "discard", "undecided")  # of experiments that are tries


@dataclass(frozen=True)
class GroupRules:
    """``avoided``: groups to leave alone. ``leap``: whether several knobs change. ``fields``: of the charter, cited."""

    avoided: frozenset[str] = frozenset()
    leap: bool = False
    fields: tuple[str, ...] = ()


def group_rules(charter: Charter, space: EditSpace, history: Sequence[Record], wave: Sequence[Proposal]) -> GroupRules:
    """The rules for the next experiment, after ``history`` and what its own wave contains already.

    They follow from the records alone, so they are the same in a resumed run.
    """
    if not charter.rotate and not charter.plateau.after:
        return GroupRules()
    tried = [record for record in history if record.edit and record.decision in DECIDED]
    avoided: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    last = wave[-1].edit if wave else tried[-1].edit if tried else None
    if charter.rotate and last is not None:
        avoided, fields = groups_of(space, last), ("rotate",)
    every = charter.plateau.after
    failed = _since_kept(tried)
    plateaus = len(failed) // every if every else 0
    if not plateaus:
        return GroupRules(avoided, False, fields)
    fields += ("plateau.after", "plateau.then")
    if charter.plateau.then == "group":
        stuck = _most_tried(space, failed[(plateaus - 1) * every : plateaus * every])
        return GroupRules(avoided | stuck, False, fields)
    leaps = sum(record.proposer == LEAP for record in failed) + sum(proposal.proposer == LEAP for proposal in wave)
    return GroupRules(avoided, leaps < plateaus, fields)


def groups_of(space: EditSpace, edit: Edit) -> frozenset[str]:
    """The groups of the knobs that an edit changes, in lower case."""
    return frozenset(knob.group.lower() for name, _ in changed(edit) if (knob := space.knob(name)) is not None)


def leap(situation: Situation, rng: np.random.Generator) -> Proposal | None:
    """An edit of several knobs at once that was not tried; None if there is none."""
    movable = [moves for knob in situation.knobs if (moves := others(knob, situation.parent.config))]
    for _ in range(DRAWS if len(movable) > 1 else 0):
        chosen = rng.choice(len(movable), size=min(len(movable), LEAP_KNOBS), replace=False)
        wanted = dict(situation.parent.config)
        for number in chosen:
            move = movable[number][int(rng.integers(len(movable[number])))]
            wanted[move.knob.name] = move.value
        edit = situation.space.between(situation.parent.config, wanted)
        if edit and situation.allowed(edit) and not situation.was_tried(edit):
            return Proposal(edit, LEAP)
    return None


def _since_kept(tried: Sequence[Record]) -> list[Record]:
    last = max((index for index, record in enumerate(tried) if record.decision == "keep"), default=-1)
    return list(tried[last + 1 :])


def _most_tried(space: EditSpace, records: Sequence[Record]) -> frozenset[str]:
    """The group that most of the records changed; of several, the one tried last."""
    said = [group for record in records for group in sorted(groups_of(space, record.edit))]
    return frozenset((max(reversed(said), key=said.count),)) if said else frozenset()
