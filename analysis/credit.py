"""The rows of attribution: the estimated gain of an edit, directive, commit or mutation, with design and interval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeVar

from analysis.statistics import bh
from trainer.values.constants import is_number

Value = str | float | int | bool
Key = tuple[str, str]  # of an edit: the knob in lower case, the value in its one canonical text
Design = Literal["randomised", "paired", "observational"]
LEAST_RUNS = 3  # of a row that may be significant
PER_SECOND, PER_EXPERIMENT = " per device-second", " per experiment"


Credit = TypeVar("Credit", bound="CreditEstimate")


@dataclass(frozen=True)
class CreditEstimate:
    """The fields of every kind of credit. estimate, se, low and high are in `unit`; positive is better."""

    credit_id: str
    task: str
    estimate: float
    se: float | None  # None for a single run
    low: float | None  # two-sided 95% t interval
    high: float | None
    n: int  # tries (edits), experiments (directives), pairs of runs (mutations), runs or seeds
    q: float | None  # Benjamini-Hochberg, over all rows of a task (`settled`)
    design: Design
    unit: str
    p: float | None = field(default=None, kw_only=True)  # two-sided, of no effect
    of: tuple[str, ...] = field(default=(), kw_only=True)  # of a mean over tasks: ids of the averaged rows

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its rows in the view."""
        return self.of or (self.credit_id,)

    @property
    def rests_on(self) -> int:
        """The number of independent runs or trainings."""
        return self.n

    def columns(self) -> Mapping[str, str | int | None]:
        """Columns of the view that are not the attributes of the same name."""
        return {}

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
    label: str  # "lr=0.002" or "+muon", as an idea names it
    failures: int  # tries that crashed, timed out, ran out of memory or were invalid
    runs: int  # with a try of it, and seeds of its own
    device_seconds: float  # charged for these tries
    df: float = field(default=0.0, kw_only=True)  # of interval and test
    # False: nearly all tries had another edit beside it that hurts, so the estimate is how it repairs that one. No
    # interval and no q then: effects do not add up there.
    is_isolated: bool = field(default=True, kw_only=True)

    @property
    def key(self) -> Key:
        return self.knob.lower(), canonical(self.value)

    @property
    def rests_on(self) -> int:
        return self.runs

    def columns(self) -> Mapping[str, str | int | None]:
        return {"method": "edit", "value": plain(self.value)}

    @property
    def score(self) -> float:
        """The sort key of ideas: the expected gain of one more try; a failed try gains 0."""
        return self.estimate * (1.0 - self.failures / self.n) if self.n else 0.0


@dataclass(frozen=True)
class NeverFollowed:
    """A directive that no experiment cited, although programs that have it ran."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: tuple[str, ...]
    runs_held: int


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
    """Gain per charged device-second of the changes that cite a directive, kept or not."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: tuple[str, ...]
    device_seconds: float
    failures: int
    runs_held: int  # finished or running runs of programs that have it
    runs_followed: int  # of these, runs with an experiment that cites it
    df: float = field(default=0.0, kw_only=True)  # of interval and test

    @property
    def rests_on(self) -> int:
        return self.runs_followed

    @property
    def gain(self) -> float:
        """Expected gain of an experiment that cites it, in the metric's unit."""
        return self.estimate * self.device_seconds / self.n

    def columns(self) -> Mapping[str, str | int | None]:
        program_id = self.program_ids[0] if len(self.program_ids) == 1 else None
        return {"method": "directive", "label": self.text, "program_id": program_id, "runs": self.runs_followed}


@dataclass(frozen=True)
class MutationCredit(CreditEstimate):
    """Verified gain of a child program minus that of its parent, of several one of them."""

    child_id: str
    name: str
    operator: str
    parent_ids: tuple[str, ...]
    shrunk: float | None = None  # partially pooled with the other children: the expected gain
    shrunk_se: float | None = None

    def columns(self) -> Mapping[str, str | int | None]:
        return {"method": "mutation", "label": f"{self.operator}: {self.name}", "program_id": self.child_id}


@dataclass(frozen=True)
class DirectiveEffect(CreditEstimate):
    """The effect of one directive of a program on the verified gain of a run, by a planned ablation."""

    directive_id: str
    text: str
    program_id: str
    match_id: str
    df: float  # of the se
    shrunk: float | None  # partially pooled with the other directives
    shrunk_se: float | None

    def columns(self) -> Mapping[str, str | int | None]:
        return {"method": "factorial", "label": self.text}


@dataclass(frozen=True)
class CommitCredit(CreditEstimate):
    """The effect of a kept commit of one run: its final source trained again with and without it."""

    label: str
    run_id: str
    program_id: str
    experiment_id: str  # that kept it

    def columns(self) -> Mapping[str, str | int | None]:
        return {"method": "leave-one-out"}


@dataclass(frozen=True)
class AddedCredit(CreditEstimate):
    """A row of a method that a package adds. The ids say what it is about; `metaloop show` lists their runs."""

    method: str  # the name under which the package adds it
    label: str
    program_id: str | None = None
    directive_id: str | None = None
    match_id: str | None = None
    run_id: str | None = None
    runs: int | None = None


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


def settled(rows: Sequence[Credit]) -> list[Credit]:
    """The same rows with their q: Benjamini-Hochberg over all of them together, whatever their method.

    Rows with fewer than LEAST_RUNS runs or without any spread get none: a few equal runs do not prove that others would
    be equal. Rows without spread get no interval either, instead of one of width 0.
    """
    tested = [row.p if row.rests_on >= LEAST_RUNS and row.se else None for row in rows]
    kept = [(row, row.low, row.high) if row.se else (row, None, None) for row in rows]
    return [replace(row, q=q, low=low, high=high) for (row, low, high), q in zip(kept, bh(tested), strict=True)]


def row(item: CreditEstimate) -> CreditViewRow:
    """The view's row of a credit."""
    named = {each.name: getattr(item, each.name, None) for each in fields(CreditViewRow)}
    return replace(CreditViewRow(**named), **item.columns())  # type: ignore[arg-type]


def per_experiment(unit: str, device_seconds: float | None, n: int) -> tuple[float, str]:
    """(factor, unit) that turn an estimate per device-second into the average over the n experiments, in the unit of
    the verdict; other estimates are in that unit already."""
    if not unit.endswith(PER_SECOND):
        return 1.0, unit
    return max(device_seconds or 0.0, 1e-9) / n, unit.removesuffix(PER_SECOND) + PER_EXPERIMENT


def of_verdict(row: CreditViewRow) -> CreditViewRow:
    """The row with its estimate and interval in the unit of the verdict."""
    factor, unit = per_experiment(row.unit, row.device_seconds, row.n)
    low, high, estimate = (None if v is None else v * factor for v in (row.low, row.high, row.estimate))
    return replace(row, estimate=estimate, se=row.se and row.se * factor, low=low, high=high, unit=unit)


def canonical(value: Value) -> str:
    """The same text for equal values: 2 and 2.0 are one value."""
    return f"{value:.12g}" if is_number(value) else json.dumps(value)


def plain(value: Value) -> str:
    """A value as in SQL and in ideas: 'adamw', '0.002', 'true'."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
