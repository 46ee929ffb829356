"""Changes one field of the charter, or a group that only works together, to another sensible value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.evidence.task_evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from programs.charter import Charter
from programs.settings import set_charter, unset_charter

Move = Mapping[str, Any]  # new values by dotted field

_LADDERS: dict[str, tuple[float, ...]] = {
    "replicates": (1, 2, 3),
    "confirm": (0.0, 0.1, 0.2),
    "avoid_failures": (False, True),
}
_IF_SCREENED: dict[str, tuple[float, ...]] = {
    "screen.fraction": (0.15, 0.25, 0.4),
    "screen.promote": (0.16, 0.25, 0.34),
    "wave": (4, 6, 9, 12),
}
_NO_SCREEN: Move = {"screen.fraction": 1.0, "screen.promote": 0.25, "wave": 1}
_SCREENS: tuple[Move, ...] = (
    {"screen.fraction": 0.25, "screen.promote": 0.16, "wave": 6},
    {"screen.fraction": 0.25, "screen.promote": 0.16, "wave": 12},
)
_KEEPS: tuple[Move, ...] = (
    {"keep.rule": "better"},
    {"keep.rule": "margin", "keep.margin": 0.5},
    {"keep.rule": "margin", "keep.margin": 1.0},
    {"keep.rule": "paired", "keep.pairs": 2},
)
_SEARCHES: tuple[dict[str, float], ...] = (
    {"local": 1.0},
    {"local": 0.8, "random": 0.2},
    {"local": 0.5, "tpe": 0.5},
    {"random": 1.0},
)


def moves(charter: Charter) -> list[Move]:
    """Every sensible change of a charter. The queue keeps its share of the proposers."""
    screened = charter.screen.fraction < 1
    queue = charter.proposers.get("queue", 0.0) / sum(charter.proposers.values())
    queued, left = {"queue": round(queue, 3)} if queue else {}, (1 - queue) or 1.0
    ladders = _LADDERS | _IF_SCREENED if screened else _LADDERS
    possible: list[Move] = [{field: value} for field, values in ladders.items() for value in values]
    possible += [_NO_SCREEN] if screened else _SCREENS
    possible += _KEEPS
    for search in _SEARCHES:
        possible.append({"proposers": queued | {name: round(share * left, 3) for name, share in search.items()}})
    return [move for move in possible if any(charter.get(field) != value for field, value in move.items())]


def carry_out(text: str, move: Move) -> str:
    """The text with a change made; a field set to its default is removed, because length is a cost."""
    default = Charter()
    for field, value in move.items():
        text = unset_charter(text, field) if value == default.get(field) else set_charter(text, field, value)
    return text


def describe(charter: Charter, move: Move) -> str:
    """``screen.fraction from 1.0 to 0.25, wave from 1 to 6``."""
    changed = {field: value for field, value in move.items() if charter.get(field) != value}
    return ", ".join(f"{field} from {charter.get(field)} to {value}" for field, value in changed.items())


class ChangeField:
    name = "change-field"
    share = 0.20
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        program = parents[0].program
        # First the field, then its value: a field with many values is as likely to be changed as one with two.
        by_fields: dict[tuple[str, ...], list[Move]] = {}
        for move in moves(program.charter):
            by_fields.setdefault(tuple(sorted(move)), []).append(move)
        choices = list(by_fields.values())[int(rng.integers(len(by_fields)))]
        move = choices[int(rng.integers(len(choices)))]
        text = carry_out(program.text, move)
        return ChildProposal(text, self.name, describe(program.charter, move), (), parent_ids(parents))


make = ChangeField
