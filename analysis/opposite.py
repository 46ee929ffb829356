"""Why two estimates about one line can point in different directions: of trying the line, of having it in a program,
of the change that added it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from analysis.wording import interval_decimals, plain_number

SHOWN = 80  # characters of a line
COMPARED = {
    "directive": "averages all experiments that cite the line, those that their run discarded included",
    "following": "compares runs that followed the line with runs of the same program that did not",
}

LEVEL = 0.05  # of q
TRIED = {
    "directive": "the average of its tries, each on the script that a run had by then",
    "following": "runs that tried it minus runs that did not",
    "having": "programs with the line minus programs without it",
    "factorial": "runs with the line minus runs without it",
}
HAD = ("having", "factorial")


class Figures(Protocol):
    """The fields of a row of credit that are shown."""

    @property
    def task(self) -> str | None: ...
    @property
    def estimate(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def unit(self) -> str | None: ...


class Estimate(Figures, Protocol):
    """With what it compares."""

    @property
    def method(self) -> str | None: ...
    @property
    def design(self) -> str | None: ...


class TestedFigures(Figures, Protocol):
    @property
    def credit_id(self) -> str: ...
    @property
    def q(self) -> float | None: ...


class TestedEstimate(TestedFigures, Estimate, Protocol):
    """Of a line."""


def opposites(
    whole: Estimate,
    parents: int,
    lines: Sequence[tuple[str, Estimate]],
    shown: Callable[[float | None, int, bool], str] = plain_number,
) -> list[str]:
    """A remark on each line (its text, its row) whose row contradicts ``whole``, the gain of the child that added it
    over its parent, one of ``parents``. Both intervals have to exclude zero."""
    out = []
    for text, own in lines:
        if own.method not in COMPARED or own.task != whole.task or sign(own) * sign(whole) >= 0:
            continue
        line = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
        parent = "its parent" if parents == 1 else f"one of its {parents} parents"
        out.append(
            f"{line} has an estimate of {_with_unit(own, shown)}, but the whole change that added it has one of "
            f"{_with_unit(whole, shown)} of a run's gain ({whole.design}). Both can be true, because they "
            f"compare different things: the first {COMPARED[own.method]}; the second compares whole runs of the child "
            f"with those of {parent}: discarded experiments do not count there, and everything else in which they "
            "differ does."
        )
    return out


def tried_and_had(
    pairs: Sequence[tuple[str, Estimate, Estimate]],
    shown: Callable[[float | None, int, bool], str] = plain_number,
) -> list[str]:
    """A remark on each line (its text, its row of having it, its significant row of trying it) whose rows disagree."""
    out = []
    for text, had, tried in pairs:
        if had.method not in HAD or had.task != tried.task or sign(had) == sign(tried):
            continue
        line = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
        out.append(
            f"{line} has two estimates. Trying it: {_with_unit(tried, shown)}, the script with the change compared "
            f"with the script before ({tried.design}). Having it: {_with_unit(had, shown)} of a run's gain, programs "
            f"with the line compared with programs without it ({had.design}). Both can be true: a run discards a "
            "change that makes its script worse, so a bad try costs the run only its time."
        )
    return out


def line_and_edit(line: TestedEstimate, edit: TestedFigures) -> tuple[str, str] | None:
    """What to say beside the row of a line and beside that of the edit which it names, where exactly one of the two
    estimates is significant, or they are opposite; else None."""
    signs = [sign(row) if row.q is not None and row.q < LEVEL else 0 for row in (line, edit)]
    if signs[0] == signs[1] or line.task != edit.task or line.method not in TRIED:
        return None
    tried = TRIED[line.method]
    why = f"this row is {tried}; that row is the edit alone on the untouched script"
    other_way = f"this row is the edit alone on the untouched script; that row is {tried}"
    return _beside(edit, why), _beside(line, other_way)


def _beside(other: TestedFigures, why: str) -> str:
    return f"Row {other.credit_id} of the same change is {_with_unit(other, plain_number)}: {why}."


def sign(row: Figures) -> int:
    """1 or -1 if the interval excludes zero, else 0."""
    if row.low is None or row.high is None:
        return 0
    return int(row.low > 0) - int(row.high < 0)


def _with_unit(row: Figures, shown: Callable[[float | None, int, bool], str]) -> str:
    return f"{shown(row.estimate, interval_decimals(row.low, row.high), True)} {row.unit}"
