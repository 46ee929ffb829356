"""Constraints of a task: limits of numbers other than the metric, ``[constraints.NAME]`` in task.toml.

A source that breaks a hard constraint is `invalid`. A soft one is measured and recorded, and never decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from programs.common.text import one_line
from trainer.scorers.printed import number_in
from trainer.scoring import InvalidPredictions
from trainer.source import Source

Kind = Literal["memory_mb", "seconds", "lines", "printed"]
Limit = Annotated[float, Field(strict=True, ge=-1e15, le=1e15)]
_ROUNDING = 1e-6  # of a number that is no whole one
_NAME = re.compile(r"[A-Za-z][\w-]{0,39}")
_UNITS = {"memory_mb": "MB", "seconds": "s", "lines": "lines"}
_WHAT = {
    "memory_mb": "peak memory of the training",
    "seconds": "time of the training",
    "lines": "lines of the editable files together",
}


def one_group(pattern: str) -> str:
    """The pattern; ValueError unless it is a regular expression with one group, or empty."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a valid regular expression: {error}") from None
    if pattern and groups != 1:
        raise ValueError(f"has {groups} groups (…), but needs exactly one, for the number")
    return pattern


class ConstraintSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Kind  # printed: a number in the output (true is 1)
    at_most: Limit | None = None
    at_least: Limit | None = None
    equals: Limit | None = None  # printed: a number that no edit may change
    hard: StrictBool = True  # false: recorded, but decides nothing
    pattern: str = Field(default="", max_length=200)  # printed: regular expression with one group
    key: str = Field(default="", max_length=200)  # printed: path of the number in JSON
    unit: str = Field(default="", max_length=20)  # printed: unit of the number

    _one_group = field_validator("pattern")(one_group)

    @model_validator(mode="after")
    def _complete(self) -> ConstraintSection:
        if [self.at_most, self.at_least, self.equals].count(None) != 2:
            raise ValueError("needs one of at_most, at_least and equals")
        if self.kind != "printed" and self.equals is not None:
            raise ValueError(f"kind {self.kind} needs at_most or at_least: it is measured, and never exactly equal")
        if (self.kind == "printed") != bool(self.pattern or self.key) or (self.pattern and self.key):
            raise ValueError("kind printed needs either pattern or key; other kinds have neither")
        if self.kind != "printed" and self.unit:
            raise ValueError(f"kind {self.kind} has the unit {_UNITS[self.kind]}; only kind printed can have another")
        if self.kind != "printed" and self.limit <= 0:
            raise ValueError("the limit must be above 0")
        return self

    @property
    def limit(self) -> float:
        return next(limit for limit in (self.at_most, self.at_least, self.equals) if limit is not None)

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """(the least value, the greatest); what rounding may change of ``equals`` counts as equal."""
        if self.equals is None:
            return self.at_least, self.at_most
        rounding = 0.0 if self.equals.is_integer() else _ROUNDING * abs(self.equals)
        return self.equals - rounding, self.equals + rounding

    @property
    def bound(self) -> str:
        """The limit in words: ``at most 300 lines``."""
        words = "at most" if self.at_most is not None else "at least" if self.at_least is not None else "exactly"
        return f"{words} {self.amount(self.limit)}"

    @property
    def suits_short_trainings(self) -> bool:
        """Whether a training with a part of the budget is held to it: its time and its results are not comparable."""
        return self.kind in ("memory_mb", "lines")

    def amount(self, value: float) -> str:
        return f"{value:.6g} {self.unit or _UNITS.get(self.kind, '')}".strip()

    def is_broken(self, value: float) -> bool:
        least, most = self.limits
        return (most is not None and value > most) or (least is not None and value < least)


Constraints = Mapping[str, ConstraintSection]


@dataclass(frozen=True)
class ConstraintRecord:
    """A constraint as the ledger records it with a match."""

    name: str
    kind: str
    unit: str
    hard: bool
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Trained:
    """What one training used, and where its numbers are sought: ``texts``, the first that has one counts.

    ``memory_mb`` is None if it could not be measured.
    """

    seconds: float
    memory_mb: float | None
    texts: Sequence[str] = ()


def records(constraints: Constraints) -> tuple[ConstraintRecord, ...] | None:
    """The constraints for the ledger; None without any, so that other records stay as they are."""
    known = tuple(
        ConstraintRecord(
            name,
            constraint.kind,
            constraint.unit or _UNITS.get(constraint.kind, ""),
            constraint.hard,
            *reversed(constraint.limits),
        )
        for name, constraint in constraints.items()
    )
    return known or None


def problem(name: str, one: ConstraintSection, score: str) -> tuple[str, str] | None:
    """Why a task with that kind of score cannot have the constraint, with a hint; None if it can."""
    if not _NAME.fullmatch(name):
        return "is not a name", "start with a letter, then letters, digits, - and _; at most 40"
    if score == "simulated":
        return "a simulated task trains nothing, so there is nothing to measure", "remove it"
    if one.kind == "printed" and score != "printed":
        return f"score {score} reads nothing that a script prints", "printed numbers need [score] kind printed"
    return None


def softened(constraints: Constraints) -> Constraints:
    """The same constraints, but none decides anything."""
    return {name: one.model_copy(update={"hard": False}) for name, one in constraints.items()}


def line_count(source: Source) -> int:
    """Lines of all editable files together; a carriage return alone ends a line, too, as it does for Python."""
    texts = [text.replace("\r\n", "\n").replace("\r", "\n") for _, text in source.files]
    return sum(text.count("\n") + (not text.endswith("\n")) for text in texts if text)


def values(constraints: Constraints, source: Source, trained: Trained | None) -> dict[str, float]:
    """The value of each constraint as far as it is known; before a training only the number of lines."""
    known: dict[str, float | None] = {}
    for name, constraint in constraints.items():
        if constraint.kind == "lines":
            known[name] = line_count(source)
        elif trained is not None:
            known[name] = (
                _printed(constraint, trained.texts) if constraint.kind == "printed" else _used(constraint, trained)
            )
    return {name: value for name, value in known.items() if value is not None}


def broken(constraints: Constraints, measured: Mapping[str, float], *, full: bool = True) -> str:
    """The hard constraints that a source breaks, with value and limit; empty if it breaks none.

    ``full``: whether it was trained with its whole budget. A number that the output lacks breaks its constraint.
    """
    parts = []
    for name, constraint in constraints.items():
        if not constraint.hard or not (full or constraint.suits_short_trainings):
            continue
        value = measured.get(name)
        if value is None:
            parts.append(f"constraint {name}: the output has no such number, needed {constraint.bound}")
        elif constraint.is_broken(value):
            parts.append(f"constraint {name}: {constraint.amount(value)}, needed {constraint.bound}")
    return "; ".join(parts)


def shown(constraints: Constraints, measured: Mapping[str, float]) -> str:
    """The values on one line: ``memory 213 MB, size 412 lines (above at most 300 lines)``; empty without any."""
    parts = []
    for name, constraint in constraints.items():
        if (value := measured.get(name)) is not None:
            parts.append(
                f"{name} {constraint.amount(value)}"
                + (f" (needed {constraint.bound})" if constraint.is_broken(value) else "")
            )
    return ", ".join(parts)


def sentences(constraints: Constraints) -> list[str]:
    """One plain line for each constraint, for a researcher."""
    lines = []
    for name, constraint in constraints.items():
        what = (
            _WHAT.get(constraint.kind)
            or f"the number {f'at `{constraint.key}`' if constraint.key else f'that `{constraint.pattern}` finds'}"
        )
        effect = (
            "a source that breaks it is never kept" if constraint.hard else "soft: recorded, but it decides nothing"
        )
        lines.append(one_line(f"Constraint {name}: {what}, {constraint.bound} ({effect})."))
    return lines


def _used(one: ConstraintSection, trained: Trained) -> float | None:
    value = trained.seconds if one.kind == "seconds" else trained.memory_mb
    return None if value is None else round(value, 6)


def _printed(one: ConstraintSection, texts: Sequence[str]) -> float | None:
    for text in texts:
        try:
            return number_in(text, one.pattern, one.key, words=True)
        except InvalidPredictions:
            continue
    return None
