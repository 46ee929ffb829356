"""An edit that depends on the source: conditions under which it is made, and values relative to the source's own."""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from programs.common import bounded
from programs.ideas import Comparison, compared
from trainer.edits import ROLE, Edit, EditSpace, Knob, Value, read_value
from trainer.values.constants import is_number

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_EQUAL = ("==", "!=")  # the signs that text has, too
OPTIONAL = "?"  # after a term
_STEPS = {"up": 1, "down": -1}
_SWITCH = {"on": True, "off": False}


@dataclass(frozen=True)
class Condition:
    """Holds if the source has the knob and its value compares so; for a patch, whether it is applied."""

    knob: Knob
    sign: str  # <, <=, >, >=, == or !=
    value: Value

    def holds(self, config: Mapping[str, Value]) -> bool:
        """``config``: the value of every knob that the source has (`EditSpace.config`)."""
        current = config.get(self.knob.name)
        return current is not None and compares(current, self.sign, self.value)

    def __str__(self) -> str:
        return f"{self.knob.name}{self.sign}{self.value}"


@dataclass(frozen=True)
class RelativeValue:
    """``times``: the source's value multiplied; ``step``: the next rung of the ladder, up (1) or down (-1)."""

    knob: Knob
    kind: Literal["times", "step"]
    size: float

    def on(self, config: Mapping[str, Value]) -> Value | None:
        """The new value; None where the source has no number there, or the value would leave the knob's range."""
        current = config.get(self.knob.name)
        if current is None or not is_number(current):
            return None
        if self.kind == "step":
            return self.knob.beside(current, int(self.size))
        value = float(current) * self.size
        return self.knob.legal(round(value) if self.knob.kind == "int" else value)

    def __str__(self) -> str:
        if self.kind == "step":
            return f"{self.knob.name}={'up' if self.size > 0 else 'down'}"
        return f"{self.knob.name}=*{self.size:.6g}"


@dataclass(frozen=True)
class ConditionalEdit:
    """What an idea asks for on a task. Without conditions and relative values it is its ``fixed`` edit everywhere."""

    fixed: Edit
    conditions: tuple[Condition, ...] = ()
    relative: tuple[RelativeValue, ...] = ()

    @property
    def is_fixed(self) -> bool:
        return not self.conditions and not self.relative

    @property
    def knobs(self) -> set[str]:
        """The knobs that it changes."""
        return {*self.fixed.set, *self.fixed.apply, *(one.knob.name for one in self.relative)}

    @cached_property
    def key(self) -> str:
        """Canonical text, equal for ideas that ask for the same."""
        if self.is_fixed:
            return self.fixed.key()
        parts = sorted(map(str, self.conditions)), self.fixed.key(), sorted(map(str, self.relative))
        return json.dumps(parts)

    def on(self, config: Mapping[str, Value]) -> Edit | None:
        """The edit of a source with these values; None if a condition does not hold or a relative value has none."""
        if not all(condition.holds(config) for condition in self.conditions):
            return None
        values = dict(self.fixed.set)
        for relative in self.relative:
            value = relative.on(config)
            if value is None:
                return None
            values[relative.knob.name] = value
        return Edit(values, self.fixed.apply)


def read(space: EditSpace, terms: Sequence[str], conditions: Sequence[Comparison] = ()) -> ConditionalEdit | None:
    """What an idea asks for on this task; None if the task lacks a knob or a role of it, or does not allow a value.

    A term with a question mark (``@dropout=0?``) is left out on a task that cannot read it, an optimizer with its
    learning rate. Words that cannot name an edit (``train.py``) are ignored, as in `EditSpace.parse_terms`.
    """
    terms = _possible(space, terms)
    understood = tuple(filter(None, (_condition(space, condition) for condition in conditions)))
    relative = {term: condition for term in terms if (condition := _relative(space, term)) is not None}
    rest = [term for term in terms if term not in relative]
    fixed = space.parse_terms(rest) if any(map(space.names_edit, rest)) else Edit()
    if fixed is None or len(understood) < len(conditions) or not (fixed or relative):
        return None
    own = {*fixed.set, *fixed.apply}
    moved = tuple(condition for condition in relative.values() if condition.knob.name not in own)
    return ConditionalEdit(fixed, understood, moved)


def _possible(space: EditSpace, terms: Sequence[str]) -> list[str]:
    """The terms without their question marks, and without those that this task has to leave out."""
    possible: list[str] = []
    left: set[str] = set()
    for term in terms:
        plain = term.rstrip(f"{OPTIONAL} ")
        name = plain.partition("=")[0].strip().lower()
        alone = name == f"{ROLE}learning_rate" and f"{ROLE}optimizer" in left
        if plain != term and (alone or not known(space, plain)):
            left.add(name)
        else:
            possible.append(plain)
    return possible


def known(space: EditSpace, word: str) -> bool:
    """Whether this task can interpret a backticked word: an edit, a relative value, or a condition.

    A term with a question mark is understood everywhere, because a task may leave it out.
    """
    if word.endswith(OPTIONAL):
        return space.names_edit(word.rstrip("? "))
    written = compared(word)
    return _condition(space, written) is not None if written else read(space, [word]) is not None


def unread(space: EditSpace, word: str) -> str:
    """Why this task cannot interpret a backticked word; empty if it can."""
    if known(space, word):
        return ""
    parts = re.split(r"[\s,;]+", word.strip())
    if len(parts) > 1 and all(known(space, part) for part in parts):
        return f"`{word}`: each edit needs backticks of its own, " + " ".join(f"`{part}`" for part in parts)
    name = re.match(r"\+?\s*(@?[A-Za-z_]\w*)", word)
    knob = space.knob(name[1]) if name else None
    if knob is None:
        names = {
            known_knob.role.upper(): f"{known_knob.name} or {ROLE}{known_knob.role}"
            for known_knob in space.knobs
            if known_knob.role
        }
        names |= {known_knob.name.upper(): known_knob.name for known_knob in space.knobs}
        near = difflib.get_close_matches(name[1].upper(), names, 1) if name else []
        return f"this task has no edit `{word}`" + (f" (did you mean {names[near[0]]}?)" if near else "")
    if knob.kind == "patch":
        return f"`{word}`: {knob.name} is a change of the code, so it has no value: `{knob.name}`"
    texts = ["{:g} to {:g}".format(*knob.bounds)] if knob.bounds else [str(value) for value in knob.values]
    values = " or ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)
    return f"`{word}`: {'no value; ' if name and name[0] == word.strip() else ''}{knob.name} can be {values}"


def _condition(space: EditSpace, written: Comparison) -> Condition | None:
    knob = space.knob(written.name)
    if knob is None:
        return None
    value = read_value(written.value)
    if knob.kind == "patch":
        value = _SWITCH.get(written.value.lower(), value)
    if knob.kind in ("float", "int") and is_number(value):
        return Condition(knob, written.sign, value)
    legal = knob.meant(value) if written.name.startswith(ROLE) else knob.legal(value)
    return None if legal is None or written.sign not in _EQUAL else Condition(knob, written.sign, legal)


def _relative(space: EditSpace, term: str) -> RelativeValue | None:
    name, sign, value = term.strip().lstrip("+").partition("=")
    knob, value = space.knob(name.strip()), value.strip().lower()
    if not sign or knob is None or knob.kind not in ("float", "int"):
        return None
    if value in _STEPS:
        return RelativeValue(knob, "step", _STEPS[value])
    factor = read_value(value[1:]) if value[:1] in ("*", "/") else None
    if factor is None or not is_number(factor) or factor <= 0:
        return None
    size = float(factor) if value[0] == "*" else 1 / float(factor)
    return RelativeValue(knob, "times", size) if size < bounded.LARGEST else None


def compares(current: Value, sign: str, value: Value) -> bool:
    """Whether a comparison holds; text is neither below nor above anything."""
    if is_number(current) and is_number(value):
        return _SIGNS[sign](float(current), float(value))
    return sign in _EQUAL and (str(current).lower() == str(value).lower()) == (sign == "==")
