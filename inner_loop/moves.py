"""Small steps through an edit space: what one knob can be changed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inner_loop.events import Experiment
from trainer.edits import Edit, EditError, EditSpace, Knob, Value
from trainer.source import Source


@dataclass(frozen=True)
class Move:
    """One knob set to another value. A patch's value is True; it is never reverted."""

    knob: Knob
    value: Value
    old: Value

    @property
    def edit(self) -> Edit:
        if self.knob.kind == "patch":
            return Edit({}, (self.knob.name,))
        return Edit({self.knob.name: self.value})

    @property
    def direction(self) -> int:
        """+1 up the ladder, -1 down, 0 where values have no order."""
        return direction(self.knob, self.old, self.value)


def direction(knob: Knob, old: Value, new: Value) -> int:
    if knob.kind not in ("float", "int"):
        return 0
    return (float(new) > float(old)) - (float(new) < float(old))


def others(knob: Knob, config: Mapping[str, Value]) -> list[Move]:
    """Every other value of the ladder; nothing for a knob that the source lacks or an applied patch."""
    if knob.name not in config:
        return []
    old = config[knob.name]
    if knob.kind == "patch":
        return [] if old else [Move(knob, True, old)]
    return [Move(knob, value, old) for value in knob.values if value != old]


def neighbours(knob: Knob, config: Mapping[str, Value]) -> list[Move]:
    """The next lower and the next higher ladder value (also from between rungs); for choices, all others."""
    moves = others(knob, config)
    if knob.kind not in ("float", "int"):
        return moves
    lower = [move for move in moves if move.direction < 0]
    higher = [move for move in moves if move.direction > 0]
    return lower[-1:] + higher[:1]


def rung(knob: Knob, value: Value) -> int:
    """The index of a value on its ladder, or of the nearest rung; 0 for an unknown choice."""
    if value in knob.values:
        return knob.values.index(value)
    if knob.kind not in ("float", "int"):
        return 0
    return min(range(len(knob.values)), key=lambda i: abs(float(knob.values[i]) - float(value)))


def changed(edit: Edit) -> Iterator[tuple[str, Value]]:
    """Every (knob, value) that an edit sets, patches as True."""
    yield from edit.set.items()
    yield from ((name, True) for name in edit.apply)


def after(config: Mapping[str, Value], edit: Edit) -> tuple[tuple[str, Value], ...]:
    """The config after an edit, as a key that is equal for equal configs."""
    return tuple(sorted({**config, **dict(changed(edit))}.items()))


def known_edit(space: EditSpace, parent: Experiment, source: Source) -> Edit:
    """The known edit of a parent that gives this source; empty for any other change of its text."""
    edit = space.between(parent.config, space.config(source))
    try:
        return edit if edit and space.apply(parent.source, edit) == source else Edit()
    except EditError:
        return Edit()
