"""The curve of a run as SVG: kept and discarded experiments, failures, best so far with the noise band. No script.

As picture 4 of the report (`analysis/templates/report/charts.js`, oneRun), in units of an SVG's viewBox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.report.axis import Axis
from analysis.wording import brief, many, tick_step
from arena.contest.stored import CourseContent, ExperimentColumns

# The result of an experiment, as one letter.
BASELINE, KEPT, DISCARDED, FAILED, ASIDE = "b", "k", "d", "x", "s"
ASIDE_DECISIONS = ("screen", "replicate", "confirm")
WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 30
MEANINGS = {BASELINE: "baseline", KEPT: "kept", DISCARDED: "discarded", FAILED: "failed", ASIDE: "screen or repeat"}


def letter(number: int, decision: str | None, status: str | None, metric: float | None, fraction: float) -> str:
    """The result of an experiment; ``fraction``: of the full training budget."""
    if number == 0 or decision == "baseline":
        return BASELINE
    if status != "ok" or metric is None:
        return FAILED
    if decision in ASIDE_DECISIONS or fraction != 1.0:
        return ASIDE
    return KEPT if decision == "keep" else DISCARDED


@dataclass(frozen=True)
class Dot:
    """One experiment that was measured; ``what``: kept, discarded or baseline."""

    x: float
    y: float
    what: str
    title: str


@dataclass(frozen=True)
class Curve:
    """The values for the template; lengths in units of the viewBox."""

    dots: tuple[Dot, ...]
    rug: tuple[tuple[float, str], ...]  # position and label of each failed experiment
    best: str  # path of the best so far; empty if nothing was measured
    band: str  # polygon of ± 2 SD around it; empty if the noise is unknown
    final: tuple[float, float, str] | None
    rows: tuple[tuple[float, str], ...]  # grid lines: y, label
    columns: tuple[tuple[float, str], ...]
    caption: str
    outside: str  # a sentence on the values that are drawn at the edge of the frame; empty without any
    axis: str  # what the vertical axis shows, and which direction is better
    table: tuple[tuple[int, str, str], ...]  # number, outcome, metric


def curve(run: CourseContent, digits: int = 5, going_on: bool = False) -> Curve:
    """``going_on``: the run has not ended."""
    marked = [
        (row, letter(row["number"], row["decision"], row["status"], row["metric"], row["fraction"] or 1.0))
        for row in run["experiments"]
    ]
    higher = run["direction"] == "higher"
    steps = best_so_far(marked, higher)
    plane = Plane.of(steps, run, higher, last=max((row["number"] for row, _ in marked), default=1))
    measured = [
        (row, row["metric"], what)
        for row, what in marked
        if what in (BASELINE, KEPT, DISCARDED) and row["metric"] is not None
    ]
    dots = tuple(
        Dot(plane.x(row["number"]), plane.y(metric), MEANINGS[what], title(row, what, digits))
        for row, metric, what in measured
    )
    rug = tuple((plane.x(row["number"]), title(row, what, digits)) for row, what in marked if what == FAILED)
    final = run["final"]
    ended = (
        None
        if final is None
        else (plane.x(plane.last + 0.9), plane.y(final), f"the final script on fresh seeds: {brief(final, digits)}")
    )
    return Curve(
        dots,
        rug,
        plane.path(steps),
        plane.band(steps, run["sd"]),
        ended,
        plane.y.ticks(4),
        plane.columns(),
        caption(run, [what for _, what in marked], steps, digits, going_on),
        plane.outside([metric for _, metric, _ in measured]),
        f"{run['metric'] or 'metric'}{f' in {unit}' if (unit := run['unit']) else ''}; {run['direction']} is better",
        tuple((row["number"], MEANINGS[what], brief(row["metric"], digits)) for row, what in marked),
    )


def title(row: ExperimentColumns, what: str, digits: int) -> str:
    metric = "" if row["metric"] is None else f", {brief(row['metric'], digits)}"
    return f"{row['number']}: {MEANINGS[what]}{metric}. {row['description']}"


def best_so_far(marked: Sequence[tuple[ExperimentColumns, str]], higher: bool) -> list[tuple[int, float]]:
    """(number, best metric so far) after each experiment, from the baseline and the kept ones."""
    out: list[tuple[int, float]] = []
    best: float | None = None
    for row, what in marked:
        if what in (BASELINE, KEPT) and row["metric"] is not None:
            better = max if higher else min
            best = row["metric"] if best is None else better(best, row["metric"])
        if best is not None:
            out.append((row["number"], best))
    return out


def caption(
    run: CourseContent, letters: Sequence[str], steps: Sequence[tuple[int, float]], digits: int, going_on: bool = False
) -> str:
    meanings = MEANINGS | {ASIDE: "not drawn: screens and repeats"}
    counted = ", ".join(f"{letters.count(key)} {meaning}" for key, meaning in meanings.items() if key in letters)
    last = f"{'so far' if going_on else 'at the end'} on the search's data"
    ends = f": {brief(steps[0][1], digits)} at the start, {brief(steps[-1][1], digits)} {last}" if steps else ""
    where = "on fresh seeds, where the gain is measured"
    fresh = "" if run["final"] is None else f", {brief(run['final'], digits)} {where}"
    said = f"{many(len(letters), 'experiment')}{f' ({counted})' if counted else ''}{ends}{fresh}."
    if run["left_out"]:
        said += f" {many(run['left_out'], 'later one')} not shown."
    return said


@dataclass(frozen=True)
class Plane:
    """Maps experiment number and metric to coordinates."""

    x: Axis
    y: Axis
    last: int

    @classmethod
    def of(cls, steps: Sequence[tuple[int, float]], run: CourseContent, higher: bool, last: int) -> Plane:
        first, best = (steps[0][1], steps[-1][1]) if steps else (0.0, 1.0)
        sd = run["sd"] or 0.0
        span = abs(first - best) or sd * 8 or abs(first) or 1.0
        ends = [first, best, best if run["final"] is None else run["final"]]
        near, far = 0.2 * span + 2 * sd, 0.45 * span  # room beyond the best, and beyond the worst
        below, above = (far, near) if higher else (near, far)
        last = max(last, 1)
        return cls(
            Axis(-0.5, last + 1.4, LEFT, WIDTH - RIGHT),
            Axis(min(ends) - below, max(ends) + above, HEIGHT - BOTTOM, TOP),
            last,
        )

    def outside(self, metrics: Sequence[float]) -> str:
        outside = sum(not self.y.low <= metric <= self.y.high for metric in metrics)
        drawn = "is drawn at its edge" if outside == 1 else "are drawn at its edge"
        return f" {many(outside, 'value')} outside the frame {drawn}." if outside else ""

    def path(self, steps: Sequence[tuple[int, float]]) -> str:
        if not steps:
            return ""
        (start, value), *others = steps
        return f"M{self.x(start)} {self.y(value)}" + "".join(f"H{self.x(at)}V{self.y(best)}" for at, best in others)

    def band(self, steps: Sequence[tuple[int, float]], sd: float | None) -> str:
        """A polygon around the steps, from 2 SD below to 2 SD above."""
        if not steps or not sd:
            return ""
        corners = [(steps[0][0], steps[0][1])]
        for (_, before), (at, best) in pairwise(steps):
            corners += [(at, before), (at, best)]
        there = [(self.x(at), self.y(value + 2 * sd)) for at, value in corners]
        back = [(self.x(at), self.y(value - 2 * sd)) for at, value in reversed(corners)]
        return " ".join(f"{x},{y}" for x, y in (*there, *back))

    def columns(self) -> tuple[tuple[float, str], ...]:
        step = max(1, round(tick_step(self.last, 4)))
        return tuple((self.x(at), str(at)) for at in range(0, self.last + 1, step))
