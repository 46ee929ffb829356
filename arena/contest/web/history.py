"""The history of ranks as a chart: a line for each entry, from the first measured run to now. No script."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report.card import width
from analysis.wording import many, ranks, tick_step
from arena.contest.contest import Contest
from arena.contest.ranks import Rank, rank_history
from arena.contest.stored import MeasuredRow, arm_label

WIDTH, LEFT, RIGHT, TOP, BOTTOM, ROW = 420, 28, 136, 14, 26, 18  # in units of the viewBox
ROOM = 9.1  # of a label, in heights of its letters: right of the chart, as large as on a phone
MOST_LINES, MOST_ROWS, MOST_COLUMNS, LETTERS = 8, 20, 8, 15


@dataclass(frozen=True)
class RankLine:
    """One entry. ``band``: polygon of its rank ranges, where one entry is drawn alone."""

    name: str
    label: str
    style: str
    path: str
    band: str
    end: tuple[float, float]
    cells: tuple[str, ...]  # its rank ranges, one for each column of the table


@dataclass(frozen=True)
class RankChart:
    """The values for the template; lengths in units of the viewBox."""

    height: float
    lines: tuple[RankLine, ...]
    rows: tuple[tuple[float, str], ...]  # grid lines: y, label
    columns: tuple[tuple[float, str], ...]
    runs: tuple[int, ...]  # heads of the table
    caption: str  # of the picture
    table_caption: str
    right: int = WIDTH - RIGHT  # where the grid ends


def rank_chart(contest: Contest, rows: Sequence[MeasuredRow]) -> RankChart | None:
    """The ranks of the first rows over time; None before there are two points in time."""
    history = rank_history(contest, [row["number"] for row in rows[:MOST_LINES]])
    drawn = [row for row in rows[:MOST_LINES] if history[row["number"]]]
    times = sorted({point.runs for points in history.values() for point in points})
    if len(times) < 2:
        return None
    alone = len(drawn) == 1
    deepest = max((point.high if alone else point.position) for points in history.values() for point in points)
    deepest = min(max(deepest, 2), MOST_ROWS)
    plane = RankPlane(deepest, times[0], times[-1])
    columns = spread(times)
    labels = chart_labels(drawn)
    lines = tuple(
        rank_line(row, label, history[row["number"]], plane, alone, columns)
        for row, label in zip(drawn, labels, strict=True)
    )
    every, apart = max(1, round(tick_step(deepest, 8))), max(1, round(tick_step(times[-1] - times[0], 4)))
    return RankChart(
        TOP + ROW * (deepest - 1) + BOTTOM,
        lines,
        tuple((plane.y(rank), str(rank)) for rank in range(1, deepest + 1) if rank == 1 or rank % every == 0),
        tuple((plane.x(runs), str(runs)) for runs in range(times[0], times[-1] + 1) if runs % apart == 0),
        tuple(columns),
        caption(times, alone, any(line.band for line in lines)),
        f"{time_span(times)} Cells: rank ranges; where they overlap, the order may be chance.",
    )


def caption(times: Sequence[int], alone: bool, banded: bool) -> str:
    span = time_span(times)
    if alone:
        return f"{span} Band: the rank range; within it the order may be chance." if banded else span
    return f"{span} Where rank ranges overlap (table), the order may be chance. Dashed: stock."


def time_span(times: Sequence[int]) -> str:
    return f"The order by average gain, while the contest went from {times[0]:,} to {many(times[-1], 'measured run')}."


@dataclass(frozen=True)
class RankPlane:
    """Maps runs and ranks to coordinates; ranks below ``deepest`` are drawn there."""

    deepest: int
    first: int
    last: int

    def x(self, runs: int) -> float:
        return round(LEFT + 6 + (WIDTH - LEFT - RIGHT - 6) * (runs - self.first) / (self.last - self.first), 1)

    def y(self, rank: int) -> float:
        return float(TOP + ROW * (min(rank, self.deepest) - 1))


def chart_labels(rows: Sequence[MeasuredRow]) -> list[str]:
    """A short label for each row, all different: the entry's; where two would be the same, with its number."""
    full = map(arm_label, rows)
    short = [shortened(label, re.search(r" \d+$|$", label).group()) for label in full]  # type: ignore[union-attr]
    same = Counter(short)
    return [
        label if same[label] == 1 else shortened(arm_label(row), f" no. {row['number']}", always=True)
        for row, label in zip(rows, short, strict=True)
    ]


def shortened(label: str, end: str, always: bool = False) -> str:
    """A label cut to LETTERS and ROOM, where it is longer or ``always``, with ``end`` after the cut."""
    text, kept = label, label if not always else label[: LETTERS - 1 - len(end)]
    while len(text) > LETTERS or width(text) > ROOM or (always and text == label):
        text = f"{kept.rstrip()}…{end}"
        kept = kept[:-1]
    return text


def rank_line(
    row: MeasuredRow, short: str, points: Sequence[Rank], plane: RankPlane, alone: bool, columns: Sequence[int]
) -> RankLine:
    style = "stock" if row["role"] != "program" else "lead" if row["rank_low"] == 1 else "rest"
    coordinates = [(plane.x(point.runs), plane.y(point.position)) for point in points]
    there = [f"{plane.x(point.runs)},{plane.y(point.low)}" for point in points]
    back = [f"{plane.x(point.runs)},{plane.y(point.high)}" for point in reversed(points)]
    return RankLine(
        arm_label(row),
        short,
        style,
        "M" + "L".join(f"{x} {y}" for x, y in coordinates),
        " ".join((*there, *back)) if alone and there != back[::-1] else "",
        coordinates[-1],
        tuple(cell_at(points, runs) for runs in columns),
    )


def cell_at(points: Sequence[Rank], runs: int) -> str:
    """The rank range that held after ``runs`` runs; empty before the entry's first run."""
    held = [point for point in points if point.runs <= runs]
    return ranks(held[-1].low, held[-1].high) if held else ""


def spread(times: Sequence[int]) -> list[int]:
    """At most MOST_COLUMNS of the times, with the first and the last."""
    step = max(1, len(times) - 1) / (MOST_COLUMNS - 1)
    return list(times) if len(times) <= MOST_COLUMNS else [times[round(step * i)] for i in range(MOST_COLUMNS)]
