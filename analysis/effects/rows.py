"""The rows of attribution: the estimated gain of an edit, directive, commit or program, with design and interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeVar

from analysis.statistics import bh
from trainer.values.constants import is_number

Value = str | float | int | bool
Key = tuple[str, str]  # of an edit: the knob in lower case, the value in its one canonical text
Design = Literal["randomised", "paired", "observational"]
LEAST_RUNS = 3  # of a row that may be significant


Credit = TypeVar("Credit", bound="CreditEstimate")


@dataclass(frozen=True)
class CreditEstimate:
    """One estimate. estimate, se, low and high are in the metric's unit; positive is better. The ids say what it is
    about, and `metaloop show` lists their runs; ``program_id`` also names the only program with a directive."""

    credit_id: str
    task: str
    estimate: float
    se: float | None  # None for a single run
    low: float | None  # two-sided 95% t interval
    high: float | None
    n: int  # tries (edits), experiments (directives), pairs of runs (mutations), runs or seeds
    q: float | None  # Benjamini-Hochberg, over the rows of a method on a task (`corrected`)
    design: Design
    unit: str
    p: float | None = field(default=None, kw_only=True)  # two-sided, of no effect
    df: float = field(default=0.0, kw_only=True)  # of interval and test
    of: tuple[str, ...] = field(default=(), kw_only=True)  # of a mean over tasks: ids of the averaged rows
    method: str = field(default="", kw_only=True)
    label: str = field(default="", kw_only=True)
    program_id: str | None = field(default=None, kw_only=True)
    directive_id: str | None = field(default=None, kw_only=True)
    match_id: str | None = field(default=None, kw_only=True)
    run_id: str | None = field(default=None, kw_only=True)
    experiment_id: str | None = field(default=None, kw_only=True)
    runs: int | None = field(default=None, kw_only=True)  # independent ones; None: n
    shrunk: float | None = field(default=None, kw_only=True)  # partially pooled with the others of the method
    shrunk_se: float | None = field(default=None, kw_only=True)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its rows in the view."""
        return self.of or (self.credit_id,)

    @property
    def rests_on(self) -> int:
        """The number of independent runs or trainings."""
        return self.n if self.runs is None else self.runs

    @property
    def causal(self) -> bool:
        """Whether pages may use causal words for this row: randomised or paired designs only."""
        return self.design in ("randomised", "paired")

    @property
    def proven(self) -> bool:
        """Whether the interval excludes 0 and the false discovery rate holds at 5%."""
        return self.q is not None and self.q < 0.05 and ((self.low or 0.0) > 0.0 or (self.high or 0.0) < 0.0)


@dataclass(frozen=True)
class EditCredit(CreditEstimate):
    """The effect of setting a knob (or applying a patch: value True) on the untouched source, given that it runs."""

    knob: str
    value: Value
    label: str = field(kw_only=True)  # "lr=0.002" or "+muon", as an idea names it
    failures: int  # tries that crashed, timed out, ran out of memory or were invalid
    runs: int = field(kw_only=True)  # with a try of it, and seeds of its own
    device_seconds: float  # charged for these tries
    # False: nearly all tries had another edit beside it that hurts, so the estimate is how it repairs that one. No
    # interval and no q then: effects do not add up there.
    is_isolated: bool = field(default=True, kw_only=True)
    is_measured: bool = field(default=True, kw_only=True)  # False: no try of it ran
    method: str = field(default="edit", kw_only=True)

    @property
    def key(self) -> Key:
        return self.knob.lower(), canonical(self.value)

    @property
    def score(self) -> float:
        """The sort key of ideas: the expected gain of one more try; a failed try gains 0."""
        return self.estimate * (1.0 - self.failures / self.n) if self.n else 0.0


@dataclass(frozen=True)
class DirectiveUse:
    """What the runs of one program did with one of its directives. ``directive_id`` None: these runs cite nothing.
    ``gain``: median of its experiments, over the source that each was tried on, as the researcher measured it."""

    program_id: str
    directive_id: str | None
    runs: int  # of the program
    experiments: float  # of one of them, the median
    tried: int  # of these, runs with an experiment that cites it
    kept: int
    gain: float | None


@dataclass(frozen=True)
class DirectiveCredit(CreditEstimate):
    """Mean gain of the experiments that cite a directive, kept or not; a failed one gains 0."""

    directive_id: str = field(kw_only=True)
    text: str
    heading: str
    kind: str
    program_ids: tuple[str, ...]
    device_seconds: float
    failures: int
    runs_held: int  # finished or running runs of programs that have it
    runs: int = field(kw_only=True)  # of these, runs with an experiment that cites it
    method: str = field(default="directive", kw_only=True)


@dataclass(frozen=True)
class MutationCredit(CreditEstimate):
    """Verified gain of a child program minus that of its parent, of several one of them. ``shrunk``: expected gain."""

    child_id: str
    name: str
    operator: str
    parent_ids: tuple[str, ...]
    method: str = field(default="mutation", kw_only=True)


@dataclass(frozen=True)
class CreditViewRow:
    """A row of the view `credit`."""

    credit_id: str
    task: str
    program_id: str | None
    directive_id: str | None
    child_id: str | None
    method: str
    design: str
    estimate: float | None
    se: float | None
    unit: str
    n: int
    q: float | None
    low: float | None
    high: float | None
    label: str
    knob: str | None
    value: str | None
    causal: bool
    failures: int | None
    runs: int | None
    runs_held: int | None
    device_seconds: float | None
    shrunk: float | None
    shrunk_se: float | None
    match_id: str | None
    run_id: str | None
    experiment_id: str | None
    p: float | None


def corrected(rows: Sequence[Credit]) -> list[Credit]:
    """The rows of one method on one task with their q (Benjamini-Hochberg).

    Rows with fewer than LEAST_RUNS runs or without any spread get none: a few equal runs do not prove that others would
    be equal. Rows without spread get no interval either, instead of one of width 0.
    """
    tested = [row.p if row.rests_on >= LEAST_RUNS and row.se else None for row in rows]
    known = [row if row.se else replace(row, low=None, high=None) for row in rows]
    return [replace(row, q=q) for row, q in zip(known, bh(tested), strict=True)]


def row(item: CreditEstimate) -> CreditViewRow:
    """The view's row of a credit."""
    named = {each.name: getattr(item, each.name, None) for each in fields(CreditViewRow)}
    if isinstance(item, EditCredit):
        named |= {"value": plain(item.value), "estimate": item.estimate if item.is_measured else None}
    return CreditViewRow(**named)  # type: ignore[arg-type]


def canonical(value: Value) -> str:
    """The same text for equal values: 2 and 2.0 are one value."""
    return f"{value:.12g}" if is_number(value) else json.dumps(value)


def plain(value: Value) -> str:
    """A value as in SQL and in ideas: 'adamw', '0.002', 'true'."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
