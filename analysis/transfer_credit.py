"""Which edits and directives went with a gain everywhere, and which only at home: one estimate a task, sorted.

Methods, each a family of its own for the false discovery rate, over all tasks together:

    edit           what a change does to the untouched source                  randomised or observational
    tries          what the tries that cite a directive gain, kept or not       observational: who cites it is not drawn
    having         children against their parents, per directive                paired
    factorial      planned ablations                                            randomised
    without-ideas  a program minus the same one without its idea list           paired by run seeds

Estimates are compared across tasks in units of stock's mean gain there. "Only at home" is more than "not shown
elsewhere": the estimate elsewhere must be told to be smaller than the one at home.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from analysis.credit import LEAST_RUNS, Design, DirectiveCredit, EditCredit, canonical
from analysis.directive_credit import directive_credits
from analysis.edit_effects import Effects, edit_effects
from analysis.methods.edit import edit_credits
from analysis.methods.factorial import factorial_credits
from analysis.methods.having import having_credits
from analysis.scope import Scope, scopes
from analysis.statistics import bh, mean_interval, satterthwaite, t_test
from analysis.transfer import BARE, Cell, Places

if TYPE_CHECKING:
    import duckdb

LEVEL = 0.05  # false discovery rate
State = Literal["gain", "loss", "open", "untried", "own", "absent"]  # own: the untouched source has it already
Found = Literal["everywhere", "home", "elsewhere", "some", "hurts", "open", "absent"]
STATES: Mapping[State, str] = {
    "gain": "gain", "loss": "loss", "open": "not told from 0", "untried": "not tried", "own": "there from the start",
    "absent": "not there",
}  # fmt: skip
# (of randomised and paired rows; of observational ones, which allow no causal words)
WORDS: Mapping[Found, tuple[str, str]] = {
    "everywhere": ("helps everywhere it exists", "went with a gain everywhere it exists"),
    "home": ("helps at home only", "went with a gain at home only"),
    "elsewhere": ("helps elsewhere only", "went with a gain elsewhere only"),
    "some": ("helps on some tasks only", "went with a gain on some tasks only"),  # where none is elsewhere
    "hurts": ("hurts somewhere", "went with a loss somewhere"),
    "open": ("not told apart", "not told apart"),
    "absent": ("not there on the other side", "not there on the other side"),
}


@dataclass(frozen=True)
class There:
    """What is known of it on one task. estimate, low and high in the task's unit; scaled ones in stock's mean gains."""

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
    scaled_se: float | None = None  # with the error of stock's mean in it
    design: Design = "observational"


@dataclass(frozen=True)
class Across:
    """An edit, a directive or an idea list over the tasks of a study."""

    method: str
    key: str
    label: str
    kind: str  # of a directive
    there: tuple[There, ...]  # a task each, in the order of the study's places
    found: Found = "open"

    @property
    def causal(self) -> bool:
        told = [t for t in self.there if t.estimate is not None]
        return bool(told) and all(t.design != "observational" for t in told)

    @property
    def design(self) -> str:
        """The weakest design among the tasks."""
        order = ("observational", "paired", "randomised")
        return min((t.design for t in self.there if t.estimate is not None), key=order.index, default=order[0])

    @property
    def words(self) -> str:
        return WORDS[self.found][0 if self.causal else 1]


def across(
    con: duckdb.DuckDBPyConnection, where: Places, cells: Sequence[Cell], runs: Sequence[Mapping[str, Any]]
) -> list[Across]:
    """One row per edit, cited directive and idea list that was tried on any of the tasks; clearest first."""
    by_task = {scope.task: scope for scope in scopes(con)}
    views = [by_task[task] for task in where.all if task in by_task]
    stock = {task: stock_on(task, cells) for task in where.all}
    effects = {scope.task: edit_effects(scope) for scope in views}
    families = [_edits(views, effects), _tries(views, effects), *_effects(views), _idea_lists(where, cells, runs)]
    return [row for family in families for row in sort_out(family, where, stock)]


def stock_on(task: str, cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Stock's mean gain on a task and its standard error; None where it has none above 0."""
    cell = next((c for c in cells if c.task == task and c.role == "control" and c.gain), None)
    return (cell.gain, cell.se or 0.0) if cell is not None and cell.gain is not None and cell.gain > 0 else None


def sort_out(
    family: Sequence[Across], where: Places, stock: Mapping[str, tuple[float, float] | None]
) -> list[Across]:  # fmt: skip
    """The rows of one method with their q, scaled estimates and class, by class and by how clear they are."""
    flat = [(i, j) for i, row in enumerate(family) for j, t in enumerate(row.there) if t.estimate is not None]
    ps = [t_test(family[i].there[j].estimate or 0.0, family[i].there[j].se, family[i].there[j].df) for i, j in flat]
    qs = dict(zip(flat, bh(ps), strict=True))
    told = [
        replace(row, there=tuple(judged(t, qs.get((i, j)), stock.get(t.task)) for j, t in enumerate(row.there)))
        for i, row in enumerate(family)
    ]
    smaller = _told_smaller(told, where)
    done = [replace(row, found=found_of(row, where, smaller.get(i, frozenset()))) for i, row in enumerate(told)]
    order = list(WORDS)
    return sorted(done, key=lambda row: (order.index(row.found), not _mixed(row), -_size(row), row.label))


def judged(there: There, q: float | None, stock: tuple[float, float] | None) -> There:
    """With its q, its state, and its figures in units of stock's mean gain (the error of that mean by delta method)."""
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


def _told_smaller(rows: Sequence[Across], where: Places) -> dict[int, frozenset[str]]:
    """Per row the tasks whose scaled estimate is told to be below the one of a task of the other side where it went
    with a gain; false discoveries held over all such differences of the family."""
    asked: list[tuple[int, str, float | None]] = []
    for i, row in enumerate(rows):
        gains = [t for t in row.there if t.state == "gain" and t.scaled is not None]
        for there in row.there:
            others = [t for t in gains if (t.task in where.one_side) != (there.task in where.one_side)]
            if there.state == "open" and there.scaled is not None and others:
                asked.append((i, there.task, _difference(max(others, key=lambda t: t.scaled or 0.0), there)))
    found: dict[int, set[str]] = defaultdict(set)
    for (i, task, _), q in zip(asked, bh([p for *_, p in asked]), strict=True):
        if q is not None and q < LEVEL:
            found[i].add(task)
    return {i: frozenset(tasks) for i, tasks in found.items()}


def _difference(one: There, other: There) -> float | None:
    """Two-sided p of "the same in units of stock's gain"; None unless the first is larger and both errors are known."""
    if one.scaled_se is None or other.scaled_se is None or (one.scaled or 0.0) <= (other.scaled or 0.0):
        return None
    a, b = one.scaled_se**2, other.scaled_se**2
    if a + b == 0.0:
        return 0.0
    df = satterthwaite([(a, max(one.df, 1.0)), (b, max(other.df, 1.0))])
    return t_test((one.scaled or 0.0) - (other.scaled or 0.0), math.sqrt(a + b), df)


def found_of(row: Across, where: Places, smaller: frozenset[str]) -> Found:
    """The class of a row whose states are known."""
    tried = [t for t in row.there if t.estimate is not None]
    states = {t.state for t in tried}
    if "loss" in states:
        return "hurts"
    sides = [[t for t in tried if (t.task in where.one_side) == at_home] for at_home in (True, False)]
    if not sides[0] or not sides[1]:
        missing = [t for t in row.there if t.estimate is None]
        return "absent" if any(t.state in ("absent", "own") for t in missing) else "open"
    if states == {"gain"}:
        return "everywhere"
    for mine, other, name in ((sides[0], sides[1], "home"), (sides[1], sides[0], "elsewhere")):
        if any(t.state == "gain" for t in mine) and all(t.task in smaller for t in other):
            return "some" if not where.elsewhere else "home" if name == "home" else "elsewhere"
    return "open"


def _mixed(row: Across) -> bool:
    """Whether it went with a gain on one task and with a loss on another."""
    return {"gain", "loss"} <= {there.state for there in row.there}


def _size(row: Across) -> float:
    return max((abs(t.scaled) for t in row.there if t.scaled is not None), default=0.0)


# -- the families --------------------------------------------------------------------------------------------------


def _edits(views: Sequence[Scope], effects: Mapping[str, Effects]) -> list[Across]:
    own = {scope.task: _own_values(scope) for scope in views}
    found: dict[str, dict[str, There]] = defaultdict(dict)
    labels: dict[str, tuple[str, str, str]] = {}
    for scope in views:
        for row in edit_credits(scope, effects[scope.task]):
            key = "=".join(row.key)
            labels.setdefault(key, (row.label, *row.key))
            found[key][scope.task] = There(
                scope.task, "open", row.estimate, row.se, _freedom(row), row.low, row.high, row.n, unit=row.unit,
                design=row.design,
            )  # fmt: skip
    return [
        Across("edit", key, label, "", tuple(found[key].get(s.task) or _not_tried(s.task, own[s.task], knob, value)
                                             for s in views))
        for key, (label, knob, value) in labels.items()
    ]  # fmt: skip


def _own_values(scope: Scope) -> dict[str, str]:
    """Knob → its value in the task's untouched source."""
    rows = scope.rows("baseline_values")
    return {row["key"]: canonical(row["value"]) for row in rows}


def _not_tried(task: str, own: Mapping[str, str], knob: str, value: str) -> There:
    if knob not in own:
        return There(task, "absent")
    return There(task, "own" if own[knob] == value else "untried")


def _freedom(row: EditCredit | DirectiveCredit) -> float:
    """Degrees of freedom of a row's se; none where too few runs are behind it."""
    return row.df if row.rests_on >= LEAST_RUNS else 0.0


def _tries(views: Sequence[Scope], effects: Mapping[str, Effects]) -> list[Across]:
    """Directives by what the changes that cite them gain, kept or not."""
    found: dict[str, dict[str, There]] = defaultdict(dict)
    held: dict[str, dict[str, Any]] = {}
    for scope in views:
        for about in scope.rows("directive_held"):
            held.setdefault(about["directive_id"], about)
        for row in directive_credits(scope, effects[scope.task])[0]:
            share = row.device_seconds / row.n  # from a rate to the gain of one experiment
            figures = (None if value is None else value * share for value in (row.se, row.low, row.high))
            se, low, high = figures
            found[row.directive_id][scope.task] = There(
                scope.task, "open", row.gain, se, _freedom(row), low, high, row.n, unit=scope.unit
            )
    knobs = {scope.task: set(_own_values(scope)) for scope in views}
    rows = []
    for directive, there in found.items():
        about = held.get(directive, {})
        told = tuple(there.get(s.task) or There(s.task, _missing(about, knobs[s.task])) for s in views)
        rows.append(Across("tries", directive, about.get("text") or directive, about.get("kind") or "", told))
    return rows


def _missing(about: Mapping[str, Any], knobs: set[str]) -> State:
    """Of a directive that no try of a task cites: an idea whose edit the task does not have, or one not followed."""
    terms = re.findall(r"`([^`\n]+)`", about.get("text") or "") if about.get("kind") == "idea" else []
    named = {term.partition("=")[0].strip().lstrip("+").lower() for term in terms}
    return "absent" if named and not named & knobs else "untried"


def _effects(views: Sequence[Scope]) -> list[list[Across]]:
    """What having a directive does: from children beside their parents, and from planned ablations."""
    families = []
    for method, credits in (("having", having_credits), ("factorial", factorial_credits)):
        found: dict[str, dict[str, There]] = defaultdict(dict)
        texts: dict[str, str] = {}
        for scope in views:
            for row in credits(scope):
                texts.setdefault(row.directive_id, row.text)
                found[row.directive_id][scope.task] = There(
                    scope.task, "open", row.estimate, row.se, row.df, row.low, row.high, row.n, unit=row.unit,
                    design=row.design,
                )  # fmt: skip
        families.append([
            Across(method, key, texts[key], "", tuple(there.get(s.task) or There(s.task, "untried") for s in views))
            for key, there in found.items()
        ])  # fmt: skip
    return families


def _idea_lists(where: Places, cells: Sequence[Cell], runs: Sequence[Mapping[str, Any]]) -> list[Across]:
    """Each program beside itself without its ideas, or who behaves like that: the mean difference over run seeds that
    both had."""
    like = {(c.task, c.program_id): c.like_id for c in cells if c.like_id}
    names = {c.program_id: c.name for c in cells}
    units = {c.task: c.unit for c in cells}
    streams = {(c.task, c.program_id): c.stream for c in cells if not c.like_id}
    gains: dict[tuple[str, str, Any], float] = {}
    for run in runs:
        if run["role"] != "a/a" and streams.get((run["task"], run["program_id"])) == run["stream"]:
            gains[run["task"], run["program_id"], (run["match_id"], run["run_seed"])] = run["gain"]
    found = []
    for program, bare in sorted({(c.of_program, c.program_id) for c in cells if c.of_program and c.role == BARE}):
        there = tuple(
            _paired(task, like.get((task, str(program))) or str(program), like.get((task, bare)) or bare, gains,
                    units.get(task, ""))
            for task in where.all
        )  # fmt: skip
        if any(t.estimate is not None for t in there):
            label = f"the idea list of {names.get(program, program)}"
            found.append(Across(BARE, str(program), label, "ideas", there))
    return found


def _paired(
    task: str, program: str, bare: str, gains: Mapping[tuple[str, str, Any], float], unit: str
) -> There:  # fmt: skip
    if program == bare:
        return There(task, "absent")
    ours = {place: gain for (on, who, place), gain in gains.items() if on == task and who == program}
    theirs = {place: gain for (on, who, place), gain in gains.items() if on == task and who == bare}
    pairs = [ours[place] - theirs[place] for place in sorted(ours.keys() & theirs.keys(), key=str)]
    if not pairs:
        return There(task, "untried")
    mean = mean_interval(pairs)
    return There(task, "open", mean.mean, mean.se, mean.n - 1, mean.low, mean.high, mean.n, unit=unit, design="paired")
