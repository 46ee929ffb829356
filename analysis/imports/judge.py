"""Judges the rows of a run: recomputes the best so far and the steps, and finds contradictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.imports.cells import last_digit
from analysis.imports.noise import reruns
from analysis.imports.rows import ParsedRow
from analysis.imports.runs import Run
from analysis.imports.words import FAILED, category, rerun_patterns

HALF = 0.5  # of its step; a best with less than that when measured again is a contradiction
ROUNDING = 0.02  # of a change; tolerance of "delta"


@dataclass(slots=True)
class Judged:
    """A row in the context of the others; gains are in metric units, positive is better."""

    row: ParsedRow
    number: int
    decision: str | None
    metric: float | None  # None if the row failed
    step: float | None = None  # of a kept row: gain over the best kept before
    best: float | None = None  # best metric among the rows kept so far
    tries: int = 0  # of a kept row: measured tries since the last kept one, itself included
    kept: bool = False  # by its status
    new_best: bool = False  # in a log without keep statuses
    again: int | None = None  # line of the row that it repeats
    category: str = "other"
    contradiction: str = ""
    problem: str = ""

    @property
    def leads(self) -> bool:
        """Whether the search went on from this row, as far as the log has it."""
        return self.kept or self.new_best


@dataclass
class Judgement:
    """A run's rows, judged; ``baseline``: index of the baseline row, None without one.

    ``base``: its metric; or the metric before the first change, in a log with columns before and after.
    """

    sign: float
    rows: list[Judged]
    baseline: int | None
    base: float | None
    baseline_from: str
    decided: bool  # whether the log has keep statuses; else each new best that was not discarded counts
    again: dict[int, int] = field(default_factory=dict)


def judge(run: Run) -> Judgement:
    """Numbers, steps, re-runs and contradictions of a run with a known direction."""
    sign = -1.0 if run.direction.way == "higher" else 1.0
    metrics = [None if row.status in FAILED else row.value for row in run.rows]
    index, source = _baseline(run.rows, metrics)
    decided = any(row.decision == "keep" for row in run.rows)
    judged = [
        Judged(row, i - index if index is not None else i + 1, row.decision, metrics[i])
        for i, row in enumerate(run.rows)
    ]
    base = _before(judged) if index is None else judged[index].metric
    if index is not None:
        judged[index].decision = "baseline"
    bests = _walk(judged, sign, decided, base if index is None else None)
    again = reruns(run.rows, metrics, bests)
    for item in judged:
        item.category = category(item.row.description)
        item.kept = item.decision == "keep"
        item.new_best = not decided and item.step is not None
        _row_alone(item)
    for i, first in again.items():
        judged[i].again = run.rows[first].line
    _not_reproduced(judged, again, sign)
    return Judgement(sign, judged, index, base, source, decided, again)


def _baseline(rows: Sequence[ParsedRow], metrics: Sequence[float | None]) -> tuple[int | None, str]:
    """The first measured row, unless it was discarded: then its reference is not in the log."""
    index = next((i for i, metric in enumerate(metrics) if metric is not None), None)
    if index is None:
        return None, "nothing was measured"
    row = rows[index]
    if row.before is not None:
        return None, "the metric before the first change"
    named = row.decision == "baseline" or rerun_patterns()["baseline"].search(f"{row.description} {row.commit}")
    if named:
        return index, "its name"
    if row.decision == "discard":
        return None, "the log begins with a discarded row"
    return index, "the first row"


def _before(judged: Sequence[Judged]) -> float | None:
    """The metric before the first change, if the log has it."""
    first = next((item.row for item in judged if item.metric is not None), None)
    return first.before if first else None


def _walk(judged: Sequence[Judged], sign: float, decided: bool, base: float | None) -> list[int | None]:
    """Steps and bests, in one pass; for each row the index of the best kept before it. ``base``: if no row has it."""
    best = Judged(judged[0].row, 0, "baseline", base) if base is not None else None
    where: int | None = None
    tries, bests = 0, []
    for i, item in enumerate(judged):
        bests.append(where)
        metric = item.metric
        if metric is not None:
            tries += item.decision != "baseline"
            step = None if best is None or best.metric is None else sign * (best.metric - metric)
            new_best = not decided and item.decision is None and step is not None and step > 0.0
            kept = item.decision == "keep" or new_best
            if kept:
                item.step, item.tries, tries = step, tries, 0
            if best is not None and step is not None:
                _against_best(item, best, step)
            if (item.decision == "baseline" or kept) and (step is None or step > 0.0):
                best, where = item, i
        item.best = best.metric if best else None
    return bests


def _against_best(item: Judged, best: Judged, step: float) -> None:
    row, line = item.row, best.row.line
    if item.decision == "keep" and step < 0.0:
        item.contradiction = "kept-worse"
        item.problem = f"line {row.line}: kept at {item.metric:g}, worse than {best.metric:g} kept before (line {line})"
    elif item.decision == "discard" and step > 0.0:
        item.contradiction = "discarded-better"
        item.problem = (
            f"line {row.line}: discarded at {item.metric:g}, better than the best kept, {best.metric:g} (line {line})"
        )


def _row_alone(item: Judged) -> None:
    """Contradictions within a row."""
    row = item.row
    if row.status in FAILED and row.value is not None:
        item.contradiction = "failed-with-metric"
        item.problem = f"line {row.line}: {row.word or row.status}, with the metric {row.value:g}"
    elif row.decision == "keep" and item.metric is None:
        item.contradiction = "kept-without-metric"
        item.problem = f"line {row.line}: kept without a metric"
    elif not item.contradiction and (change := _misstated(row)) is not None:
        item.contradiction = "delta"
        item.problem = f"line {row.line}: from {row.before:g} to {row.value:g} is {change:+g}, not {row.delta:+g}"


def _misstated(row: ParsedRow) -> float | None:
    """The change from before to after, if "delta" is neither it nor its percentage, in either sign."""
    if row.delta is None or row.before is None or row.value is None:
        return None
    change = row.value - row.before
    for unit in (1.0, abs(row.before) / 100):
        room = ROUNDING * abs(change) + unit * 0.51 * last_digit(row.delta) + 1e-9 * abs(row.value)
        if abs(abs(change) - unit * abs(row.delta)) <= room:
            return None
    return change


def _not_reproduced(judged: Sequence[Judged], again: dict[int, int], sign: float) -> None:
    """Marks new bests with less than half of their step when measured again."""
    groups: dict[int, list[Judged]] = {}
    for i, first in again.items():
        groups.setdefault(first, []).append(judged[i])
    for first, later in groups.items():
        item = judged[first]
        if item.step is None or item.step <= 0.0 or item.metric is None:
            continue
        values = [other.metric for other in later if other.metric is not None]
        mean = sum(values) / len(values)
        if sign * (item.metric + sign * item.step - mean) < HALF * item.step:
            lines = ", ".join(f"{other.row.line}" for other in later[:6])
            item.contradiction = "not-reproduced"
            shown = ", ".join(f"{v:g}" for v in values[:6])
            item.problem = f"line {item.row.line}: kept at {item.metric:g}, measured again at {shown} (line {lines})"
