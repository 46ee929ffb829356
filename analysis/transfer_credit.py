"""Which edits and directives transfer: one estimate per task, classified by the tasks with a significant gain.

Methods; the false discovery rate is controlled for each over all tasks together:

    edit           effect of a change on the untouched source                   randomised or observational
    tries          gain of the experiments that cite a directive, kept or not   observational: citations are not drawn
    factorial      planned ablations                                            randomised
    without-ideas  a program minus the same one without its idea list           paired by run seeds

Estimates are compared across tasks in units of stock's mean gain on the task. "On training tasks only" requires that
the estimate on other tasks is significantly smaller, not merely that it is not significant.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from analysis.attribution import searched
from analysis.credit import LEAST_RUNS, Design, DirectiveCredit, EditCredit, canonical
from analysis.directive_credit import HeldDirective, directive_credits
from analysis.edit_effects import Effects, edit_effects
from analysis.methods.edit import KnobValue, edit_credits
from analysis.methods.factorial import factorial_credits
from analysis.scope import Scope, scopes
from analysis.statistics import bh, mean_interval, satterthwaite, t_test
from analysis.transfer import BARE, Cell, StudyTasks, TransferRun, divisor

if TYPE_CHECKING:
    import duckdb

LEVEL = 0.05  # false discovery rate
# own: the untouched source has it already; beside: only tried beside an edit that hurts (`EditCredit.is_isolated`)
State = Literal["gain", "loss", "open", "untried", "own", "absent", "beside"]
Outcome = Literal["everywhere", "home", "elsewhere", "some", "part", "alone", "hurts", "open", "absent"]
SIGNIFICANT: tuple[Outcome, ...] = ("everywhere", "home", "elsewhere", "some", "part", "alone", "hurts")
STATES: Mapping[State, str] = {
    "gain": "gain",
    "loss": "loss",
    "open": "not significant",
    "untried": "not tried",
    "own": "in the baseline",
    "absent": "not available",
    "beside": "only tried beside a change that hurts",
}
# (of randomised and paired rows; of observational ones, which allow no causal words)
WORDS: Mapping[Outcome, tuple[str, str]] = {
    "everywhere": ("helps on every task that has it", "associated with a gain on every task that has it"),
    "home": ("helps on training tasks only", "associated with a gain on training tasks only"),
    "elsewhere": ("helps on other tasks only", "associated with a gain on other tasks only"),
    "some": ("helps on some tasks only", "associated with a gain on some tasks only"),  # if all are training tasks
    "part": (
        "helps on some task, not significant on another",
        "associated with a gain on some task, not significant on another",
    ),
    "alone": ("helps, never tried on the other tasks", "associated with a gain, never tried on the other tasks"),
    "hurts": ("hurts on some task", "associated with a loss on some task"),
    "open": ("not significant", "not significant"),
    "absent": ("not available on the other tasks", "not available on the other tasks"),
}


@dataclass(frozen=True)
class TaskEstimate:
    """The estimate on one task. estimate, low and high in the task's unit; scaled ones in stock's mean gains."""

    task: str
    state: State
    estimate: float | None = None
    se: float | None = None
    df: float = 0.0
    low: float | None = None
    high: float | None = None
    n: int = 0
    q: float | None = None  # over all rows of the method on all tasks
    unit: str = ""
    scaled: float | None = None
    scaled_low: float | None = None
    scaled_high: float | None = None
    scaled_se: float | None = None  # includes the error of stock's mean
    design: Design = "observational"


@dataclass(frozen=True)
class Across:
    """An edit, a directive or an idea list over the tasks of a study."""

    method: str
    key: str
    label: str
    kind: str  # of a directive
    there: tuple[TaskEstimate, ...]  # one per task, in the order of the study's tasks
    outcome: Outcome = "open"

    @property
    def causal(self) -> bool:
        tried = [t for t in self.there if t.estimate is not None]
        return bool(tried) and all(t.design != "observational" for t in tried)

    @property
    def design(self) -> str:
        """The weakest design among the tasks."""
        order = ("observational", "paired", "randomised")
        return min((t.design for t in self.there if t.estimate is not None), key=order.index, default=order[0])

    @property
    def words(self) -> str:
        return WORDS[self.outcome][0 if self.causal else 1]


def across(
    con: duckdb.DuckDBPyConnection, where: StudyTasks, cells: Sequence[Cell], runs: Sequence[TransferRun]
) -> list[Across]:
    """One row per edit, cited directive and idea list that was tried on any of the tasks; most significant first."""
    by_task = {scope.task: scope for scope in scopes(con)}
    # of a task of the search the experiments that `credit` uses, so that both show the same estimate of an effect
    by_task |= {scope.task: scope for scope in searched(con, only=True)}
    views = [by_task[task] for task in where.all if task in by_task]
    stock = {task: stock_on(task, cells) for task in where.all}
    effects = {scope.task: edit_effects(scope) for scope in views}
    families = [_edits(views, effects), _tries(views, effects), _ablated(views), _idea_lists(where, cells, runs)]
    return [row for family in families for row in classified(family, where, stock)]


def stock_on(task: str, cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Stock's mean gain on a task and its standard error; None unless it is significantly above 0."""
    stock = divisor([cell for cell in cells if cell.task == task])
    return None if stock is None else (stock.gain or 0.0, stock.se or 0.0)


def classified(
    family: Sequence[Across], where: StudyTasks, stock: Mapping[str, tuple[float, float] | None]
) -> list[Across]:
    """The rows of one method with q, scaled estimates and outcome, sorted by outcome and size."""
    flat = [(i, j) for i, row in enumerate(family) for j, t in enumerate(row.there) if t.estimate is not None]
    ps = [t_test(family[i].there[j].estimate or 0.0, family[i].there[j].se, family[i].there[j].df) for i, j in flat]
    qs = dict(zip(flat, bh(ps), strict=True))
    rows = [
        replace(row, there=tuple(judged(t, qs.get((i, j)), stock.get(t.task)) for j, t in enumerate(row.there)))
        for i, row in enumerate(family)
    ]
    smaller = _significantly_smaller(rows, where)
    done = [replace(row, outcome=outcome_of(row, where, smaller.get(i, frozenset()))) for i, row in enumerate(rows)]
    order = list(WORDS)
    return sorted(done, key=lambda row: (order.index(row.outcome), not _mixed(row), -_size(row), row.label))


def judged(there: TaskEstimate, q: float | None, stock: tuple[float, float] | None) -> TaskEstimate:
    """With q, state, and its figures in units of stock's mean gain (error of that mean by the delta method)."""
    if there.estimate is None:
        return there
    sure = q is not None and q < LEVEL and there.low is not None and there.high is not None
    way: State = "gain" if (there.low or 0.0) > 0 else "loss" if (there.high or 0.0) < 0 else "open"
    there = replace(there, q=q, state=way if sure else "open")
    if stock is None:
        return there
    mean, se = stock
    scaled = (there.estimate or 0.0) / mean
    low, high = (None if value is None else value / mean for value in (there.low, there.high))
    error = None if there.se is None else math.hypot(there.se, scaled * se) / mean
    return replace(there, scaled=scaled, scaled_low=low, scaled_high=high, scaled_se=error)


def _significantly_smaller(rows: Sequence[Across], where: StudyTasks) -> dict[int, frozenset[str]]:
    """Per row, the tasks whose scaled estimate is significantly below a significant gain on the other side (training or
    other tasks); the false discovery rate is controlled over all such differences of the family."""
    compared: list[tuple[int, str, float | None]] = []
    for i, row in enumerate(rows):
        gains = [t for t in row.there if t.state == "gain" and t.scaled is not None]
        for there in row.there:
            others = [t for t in gains if (t.task in where.one_side) != (there.task in where.one_side)]
            if there.state == "open" and there.scaled is not None and others:
                compared.append((i, there.task, _difference(max(others, key=lambda t: t.scaled or 0.0), there)))
    smaller: dict[int, set[str]] = defaultdict(set)
    for (i, task, _), q in zip(compared, bh([p for *_, p in compared]), strict=True):
        if q is not None and q < LEVEL:
            smaller[i].add(task)
    return {i: frozenset(tasks) for i, tasks in smaller.items()}


def _difference(one: TaskEstimate, other: TaskEstimate) -> float | None:
    """Two-sided p of "the same in units of stock's gain"; None unless the first is larger and both errors are known."""
    if one.scaled_se is None or other.scaled_se is None or (one.scaled or 0.0) <= (other.scaled or 0.0):
        return None
    a, b = one.scaled_se**2, other.scaled_se**2
    if a + b == 0.0:
        return 0.0
    df = satterthwaite([(a, max(one.df, 1.0)), (b, max(other.df, 1.0))])
    return t_test((one.scaled or 0.0) - (other.scaled or 0.0), math.sqrt(a + b), df)


def outcome_of(row: Across, where: StudyTasks, smaller: frozenset[str]) -> Outcome:
    """The outcome of a row whose states are known."""
    tried = [t for t in row.there if t.estimate is not None]
    states = {t.state for t in tried}
    if "loss" in states:
        return "hurts"
    sides = [[t for t in tried if (t.task in where.one_side) == first] for first in (True, False)]
    if not sides[0] or not sides[1]:
        missing = [t for t in row.there if t.estimate is None]
        if any(t.state in ("absent", "own") for t in missing):
            return "absent"
        alone = states == {"gain"} and all(t.state == "untried" for t in missing)
        return "alone" if alone else "part" if "gain" in states else "open"
    if states == {"gain"}:
        return "everywhere"
    for mine, other, name in ((sides[0], sides[1], "home"), (sides[1], sides[0], "elsewhere")):
        if any(t.state == "gain" for t in mine) and all(t.task in smaller for t in other):
            return "some" if not where.other else "home" if name == "home" else "elsewhere"
    return "part" if "gain" in states else "open"


def _mixed(row: Across) -> bool:
    """Whether it has a gain on one task and a loss on another."""
    return {"gain", "loss"} <= {there.state for there in row.there}


def _size(row: Across) -> float:
    return max((abs(t.scaled) for t in row.there if t.scaled is not None), default=0.0)


# -- the methods --------------------------------------------------------------------------------------------------


def _edits(views: Sequence[Scope], effects: Mapping[str, Effects]) -> list[Across]:
    own = {scope.task: _own_values(scope) for scope in views}
    by_key: dict[str, dict[str, TaskEstimate]] = defaultdict(dict)
    labels: dict[str, tuple[str, str, str]] = {}
    for scope in views:
        for row in edit_credits(scope, effects[scope.task]):
            key = "=".join(row.key)
            labels.setdefault(key, (row.label, *row.key))
            if not row.is_isolated:
                by_key[key][scope.task] = TaskEstimate(scope.task, "beside", n=row.n)
                continue
            by_key[key][scope.task] = TaskEstimate(
                scope.task,
                "open",
                row.estimate,
                row.se,
                _freedom(row),
                row.low,
                row.high,
                row.n,
                unit=row.unit,
                design=row.design,
            )
    return [
        Across(
            "edit",
            key,
            label,
            "",
            tuple(by_key[key].get(s.task) or _not_tried(s.task, own[s.task], knob, value) for s in views),
        )
        for key, (label, knob, value) in labels.items()
    ]


def _own_values(scope: Scope) -> dict[str, str]:
    """Knob → its value in the task's untouched source."""
    return {row.key: canonical(row.value) for row in scope.rows("baseline_values", KnobValue)}


def _not_tried(task: str, own: Mapping[str, str], knob: str, value: str) -> TaskEstimate:
    if knob not in own:
        return TaskEstimate(task, "absent")
    return TaskEstimate(task, "own" if own[knob] == value else "untried")


def _freedom(row: EditCredit | DirectiveCredit) -> float:
    """Degrees of freedom of a row's se; 0 if it has too few runs."""
    return row.df if row.rests_on >= LEAST_RUNS else 0.0


def _tries(views: Sequence[Scope], effects: Mapping[str, Effects]) -> list[Across]:
    """Directives by the gain of the changes that cite them, kept or not."""
    by_directive: dict[str, dict[str, TaskEstimate]] = defaultdict(dict)
    held: dict[str, HeldDirective] = {}
    for scope in views:
        for each in scope.rows("directive_held", HeldDirective):
            held.setdefault(each.directive_id, each)
        for row in directive_credits(scope, effects[scope.task])[0]:
            share = row.device_seconds / row.n  # from a rate to the gain of one experiment
            figures = (None if value is None else value * share for value in (row.se, row.low, row.high))
            se, low, high = figures
            by_directive[row.directive_id][scope.task] = TaskEstimate(
                scope.task, "open", row.gain, se, _freedom(row), low, high, row.n, unit=scope.unit
            )
    knobs = {scope.task: set(_own_values(scope)) for scope in views}
    rows = []
    for directive, there in by_directive.items():
        about = held.get(directive)
        estimates = tuple(there.get(s.task) or TaskEstimate(s.task, _missing(about, knobs[s.task])) for s in views)
        text, kind = (about.text, about.kind) if about else (directive, "")
        rows.append(Across("tries", directive, text or directive, kind, estimates))
    return rows


def _missing(about: HeldDirective | None, knobs: set[str]) -> State:
    """The state of a directive that no experiment of a task cites: ``absent`` for an idea whose edit the task lacks."""
    terms = re.findall(r"`([^`\n]+)`", about.text) if about and about.kind == "idea" else []
    named = {term.partition("=")[0].strip().lstrip("+").lower() for term in terms}
    return "absent" if named and not named & knobs else "untried"


def _ablated(views: Sequence[Scope]) -> list[Across]:
    """The effect of having a directive, from planned ablations."""
    by_directive: dict[str, dict[str, TaskEstimate]] = defaultdict(dict)
    texts: dict[str, str] = {}
    for scope in views:
        for row in factorial_credits(scope):
            texts.setdefault(row.directive_id, row.text)
            by_directive[row.directive_id][scope.task] = TaskEstimate(
                scope.task, "open", row.estimate, row.se, row.df, row.low, row.high, row.n, unit=row.unit,
                design=row.design,
            )  # fmt: skip
    rows = []
    for key, there in by_directive.items():
        estimates = tuple(there.get(s.task) or TaskEstimate(s.task, "untried") for s in views)
        rows.append(Across("factorial", key, texts[key], "", estimates))
    return rows


def _idea_lists(where: StudyTasks, cells: Sequence[Cell], runs: Sequence[TransferRun]) -> list[Across]:
    """Each program minus the same without its ideas (or a program that behaves like that): the mean difference over
    common run seeds."""
    like = {(c.task, c.program_id): c.like_id for c in cells if c.like_id}
    names = {c.program_id: c.name for c in cells}
    units = {c.task: c.unit for c in cells}
    streams = {(c.task, c.program_id): c.stream for c in cells if not c.like_id}
    gains: dict[tuple[str, str, object], float] = {}
    for run in runs:
        if run.role != "a/a" and streams.get((run.task, run.program_id)) == run.stream:
            gains[run.task, run.program_id, (run.match_id, run.run_seed)] = run.gain
    out = []
    for program, bare in sorted({(c.of_program, c.program_id) for c in cells if c.of_program and c.role == BARE}):
        there = tuple(
            _paired(
                task,
                like.get((task, str(program))) or str(program),
                like.get((task, bare)) or bare,
                gains,
                units.get(task, ""),
            )
            for task in where.all
        )
        if any(t.estimate is not None for t in there):
            label = f"the idea list of {names.get(program, program)}"
            out.append(Across(BARE, str(program), label, "ideas", there))
    return out


def _paired(
    task: str, program: str, bare: str, gains: Mapping[tuple[str, str, object], float], unit: str
) -> TaskEstimate:
    if program == bare:
        return TaskEstimate(task, "absent")
    ours = {seed: gain for (on, who, seed), gain in gains.items() if on == task and who == program}
    theirs = {seed: gain for (on, who, seed), gain in gains.items() if on == task and who == bare}
    pairs = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys(), key=str)]
    if not pairs:
        return TaskEstimate(task, "untried")
    mean = mean_interval(pairs)
    return TaskEstimate(
        task, "open", mean.mean, mean.se, mean.n - 1, mean.low, mean.high, mean.n, unit=unit, design="paired"
    )
