"""The rows of attribution: the estimated gain of an edit, directive, commit or program, with design and interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

from analysis.statistics import Estimate, bh
from trainer.values.constants import is_number

Value = str | float | int | bool
Key = tuple[str, str]  # of an edit, by `edit_key`: the knob in lower case, the value as JSON
Design = Literal["randomised", "paired", "observational"]
LEVEL = 0.05  # of q, the false discovery rate
LEAST_RUNS = 3  # of a row that may be significant
NO_COLUMN = {"column": False}  # metadata of a field that the view does not show


@dataclass(frozen=True)
class CreditRow:
    """One estimate, a row of the view `credit`; ``docs/views.md`` has its columns. Gains are in ``unit``, the metric's;
    positive is better. The ids say what it is about, and `metaloop show` lists their runs."""

    credit_id: str
    task: str
    method: str
    design: Design
    unit: str
    label: str
    estimate: float | None  # None: nothing was measured
    se: float | None
    low: float | None  # of the 95% interval
    high: float | None
    p: float | None  # two-sided, of no effect
    df: float  # of interval and test
    n: int  # tries (edits), scripts (directives), pairs of runs (mutations), runs or seeds
    q: float | None = None  # Benjamini-Hochberg, over the rows of a method on a task (`corrected`)
    causal: bool = field(init=False)  # whether pages may use causal words: randomised or paired designs only
    significant: bool = field(init=False)  # the interval excludes 0 and the false discovery rate holds at 5%
    program_id: str | None = None  # also names the only program with a directive
    directive_id: str | None = None
    child_id: str | None = None
    knob: str | None = None
    value: str | None = None
    failures: int | None = None  # tries that crashed, timed out, ran out of memory or were invalid
    runs: int | None = None  # independent ones with such an experiment; None: n
    runs_held: int | None = None  # of programs that contain the directive
    device_seconds: float | None = None
    shrunk: float | None = None  # partially pooled with the others of the method
    shrunk_se: float | None = None
    match_id: str | None = None
    run_id: str | None = None
    experiment_id: str | None = None
    stream: str = "selection"  # whose rows the estimate is about; `search`: those that chose what was kept
    # False: nearly all tries had another edit beside it that hurts, so the estimate is how it repairs that one. No
    # interval and no q then: effects do not add up there.
    is_isolated: bool = True
    # Of a planned ablation: p corrected over its directives (Holm), and, where the variants took turns, whether any
    # behaviour of the researcher differs with the directive (`factorial.follows`).
    p_holm: float | None = None
    is_followed: bool | None = None
    constant: Value | None = field(default=None, metadata=NO_COLUMN)  # the value of an edit
    kind: str = field(default="", metadata=NO_COLUMN)  # of a directive
    program_ids: tuple[str, ...] = field(default=(), metadata=NO_COLUMN)  # with a directive
    of: tuple[str, ...] = field(default=(), metadata=NO_COLUMN)  # of a mean over tasks: ids of the averaged rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "causal", self.design != "observational")
        excludes_zero = (self.low or 0.0) > 0.0 or (self.high or 0.0) < 0.0
        object.__setattr__(self, "significant", excludes_zero and self.q is not None and self.q < LEVEL)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its rows in the view."""
        return self.of or (self.credit_id,)

    @property
    def gain(self) -> float:
        """The estimate; 0 where nothing was measured."""
        return self.estimate or 0.0

    @property
    def change(self) -> tuple[str, Value]:
        """The knob and the value of an edit."""
        return self.knob or "", True if self.constant is None else self.constant

    @property
    def key(self) -> Key:
        """Of an edit."""
        return edit_key(*self.change)

    @property
    def score(self) -> float:
        """The sort key of ideas: the expected gain of one more try; a failed try gains 0."""
        return self.gain * (1.0 - (self.failures or 0) / self.n) if self.n else 0.0


class Figures(TypedDict):
    """What a row takes from an estimate."""

    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    p: float | None
    df: float


def figures(estimate: Estimate) -> Figures:
    low, high = estimate.interval()
    return Figures(estimate=estimate.value, se=estimate.se, low=low, high=high, p=estimate.p(), df=estimate.df)


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


def corrected(rows: Sequence[CreditRow]) -> list[CreditRow]:
    """The rows of one method on one task with their q (Benjamini-Hochberg).

    Rows with fewer than LEAST_RUNS runs or without any spread get none: a few equal runs do not prove that others would
    be equal. Rows without spread get no interval either, instead of one of width 0.
    """
    tested = [row.p if (row.n if row.runs is None else row.runs) >= LEAST_RUNS and row.se else None for row in rows]
    known = [row if row.se else replace(row, low=None, high=None) for row in rows]
    return [replace(row, q=q) for row, q in zip(known, bh(tested), strict=True)]


def edit_key(knob: str, value: Value) -> Key:
    """The same for edits that are one: the case of a knob does not matter, that of a text does. 2 and 2.0 are one
    value, and so are fractions that agree to 12 digits; ``True`` is an applied patch."""
    if not is_number(value):
        return knob.lower(), json.dumps(value)
    is_whole = isinstance(value, int) or value.is_integer()
    return knob.lower(), str(int(value)) if is_whole else f"{value:.12g}"


def value_text(key: Key) -> str:
    """The value of an edit as in SQL and in ideas: 'adamw', '0.002', 'true'."""
    value = json.loads(key[1])
    return value if isinstance(value, str) else key[1]
