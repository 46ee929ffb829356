"""A study's card, an SVG of 1200 by 630 pixels: the verdict, the standings, and the course of each deciding run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from analysis.decision_text import by_how_much, origin, own_share, result, runs, tested_p
from analysis.report import verdict
from analysis.report.champion import researcher
from analysis.report.facts import gather
from analysis.report.model import ReportFacts
from analysis.report.progress import ASIDE, FAILED, DrawnRun, FinalRow, PointRow, courses
from analysis.report.source import ReportSource
from analysis.report.standings import both_arms
from analysis.transfer import BOTH, TWIN
from analysis.wording import decimals, duration, many, number, tick_step

if TYPE_CHECKING:
    import duckdb

LETTERS, MOST_LINES, NAME_LETTERS, MOST_ARMS = 84, 6, 27, 4
ROOM = 24.0  # pixels of a program, at least
HEADS = ((44, 40, 1), (34, 52, 3))  # of the headline: pixels, letters in a line, lines
AXIS = (400.0, 700.0)  # pixels: from the lowest to the highest gain
WHOLE_AXIS = (400.0, 1136.0)
FRAME = {"left": 760.0, "right": 1136.0, "bottom": 510.0}
OURS = ("champion", "program")
STOCK = "Stock is the plain loop."


class CardRow(Protocol):
    """What a card shows of a program."""

    @property
    def display_name(self) -> str: ...
    @property
    def role(self) -> str | None: ...
    @property
    def gain(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class CardText:
    """The words of a card."""

    kicker: str
    headline: str
    sentence: str
    cost: str
    setting: str = ""


class GainAxis(NamedTuple):
    """The axis of the gains: from ``low`` at ``left`` pixels to ``high`` at ``right``."""

    low: float
    high: float
    left: float
    right: float

    @classmethod
    def of(cls, rows: Sequence[CardRow], left: float, right: float) -> GainAxis:
        ends = [0.0, *(end for row in rows for end in (row.gain, row.low, row.high) if end is not None)]
        return cls(min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1.0, left, right)

    def at(self, value: float | None) -> float | None:
        if value is None:
            return None
        return round(self.left + (self.right - self.left) * (value - self.low) / (self.high - self.low), 1)

    @property
    def ticks(self) -> list[tuple[float | None, str]]:
        step = tick_step(self.high - self.low, 4)
        values = [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [(self.at(value), number(value, decimals(step, 1)) if value else "0") for value in values]


class DrawnArm(TypedDict):
    """A program with its gain and interval in pixels."""

    name: str
    way: str
    y: float
    zero: float | None
    at: float | None
    low: float | None
    high: float | None


def card(con: duckdb.DuckDBPyConnection, study: str) -> str:
    """The picture as SVG, for `metaloop report --card`."""
    from analysis.report.page import name_of

    facts = gather(ReportSource(con, study))
    shown, decision = verdict.verdict(facts), verdict.decided(facts)
    kicker = f"metaloop: programs for automatic research · {facts.task} · {name_of(facts)}"
    lead = by_how_much(decision).strip() if decision is not None else ""
    figures = shown.sentence
    if decision is not None and lead:
        figures = f"{lead[:1].upper()}{lead[1:]}: {runs(decision)}, one-sided p {tested_p(decision.p)}."
    headline = result(decision) if decision is not None else shown.headline
    share = own_share(decision).removeprefix("; ") if decision is not None else ""
    changed = origin(decision, short=True) if decision is not None else ""
    sentences = [figures, f"{share[:1].upper()}{share[1:]}." if share else "", STOCK if "stock" in headline else ""]
    how = setting(facts)  # it names the researcher, so that the cost need not say that there was no model
    cost = verdict.cost(facts, model=not how)
    words = CardText(kicker, headline, " ".join(filter(None, [*sentences, changed])), cost, how)
    both = both_arms(facts.board)
    rows = [row for row in facts.board if not both or row.program_id != both.program_id] + ([both] if both else [])
    return drawn_card(words, rows, next((row.unit for row in facts.board), None) or facts.unit, *runs_of(facts))


def setting(facts: ReportFacts) -> str:
    """What was measured, in a line: how many experiments a run has, its budget, and who edits; the task is above."""
    rows, budget = facts.runs.rows, facts.deciding.run_budget
    if not rows or not facts.config.get("researcher"):
        return ""
    tries = round(sum(row.experiments for row in rows) / len(rows))
    spent = f", {duration(budget)} of device time" if budget else ""
    who = researcher(facts).replace("which uses no language model", "without a language model")
    return f"Per run: about {many(tries, 'experiment')}{spent}, by {who}."


def drawn_card(
    words: CardText,
    rows: Sequence[CardRow],
    unit: str,
    shown: Sequence[DrawnRun] = (),
    measure: str = "",
    direction: str = "",
    always: Sequence[CardRow] = (),
) -> str:
    """The card of these words and programs as SVG, ``unit`` that of the gains. Without runs the programs have its whole
    width, and as many are drawn as there is room for, those of ``always`` before others; the card says how many are
    not."""
    from analysis.report.page import environment

    size, letters, most = next((one for one in HEADS if len(words.headline) <= one[1]), HEADS[-1])
    headline = lines_of(words.headline, letters, most)
    below = 126 + (size + 8) * len(headline)
    sentence = lines_of(words.sentence, LETTERS, MOST_LINES)
    top = below + 34 * len(sentence) + 34
    given, room = len(rows), MOST_ARMS if shown else max(MOST_ARMS, int((FRAME["bottom"] - top) / ROOM))
    others = [row for row in rows if row not in always][: max(0, room - len(always))]
    rows = [row for row in rows if row in always or row in others][:room]
    axis = GainAxis.of(rows, *(AXIS if shown else WHOLE_AXIS))
    return (
        environment()
        .get_template("card.svg.j2")
        .render(
            kicker=textwrap.shorten(words.kicker, LETTERS, placeholder=" …"),
            headline=headline,
            size=size,
            sentence=sentence,
            below=below,
            arms=arms_of(rows, top, axis),
            ticks=axis.ticks,
            unit=unit,
            undrawn=f"; {many(left, 'more program')} not drawn" if (left := given - len(rows)) else "",
            frame=FRAME | {"top": top},
            curves=curves_of(shown, direction, top),
            reached=[number(sign_of(direction) * value, 2) for value in reached(shown, direction)],
            most=last_of(shown),
            measure=measure,
            cost=[*lines_of(words.setting, 108, 1), *lines_of(words.cost, 108, 2)],
        )
    )


def lines_of(text: str, letters: int, most: int) -> list[str]:
    """At most ``most`` lines; what is left out is marked."""
    return textwrap.wrap(text, letters, max_lines=most, placeholder=" …")


def last_of(runs: Sequence[DrawnRun]) -> int:
    """The number of the last experiment of all runs; the baseline has 0."""
    return max((number for run in runs for number, *_ in run.points), default=0)


def arms_of(rows: Sequence[CardRow], top: float, axis: GainAxis) -> list[DrawnArm]:
    """The programs below each other, on one axis that has 0."""
    step = min(52.0, (FRAME["bottom"] - top) / max(len(rows), 1))
    return [
        {
            "name": named(row),
            "way": "ours" if row.role in OURS else "theirs",
            "y": round(top + step * (number + 0.5), 1),
            "zero": axis.at(0.0),
            "at": axis.at(row.gain),
            "low": axis.at(row.low),
            "high": axis.at(row.high),
        }
        for number, row in enumerate(rows)
    ]


def named(row: CardRow) -> str:
    """The name of a program, in words where it is a comparison: its own would be cut, or says little."""
    if row.role == "without-ideas":
        return "without its ideas"
    if row.role == BOTH:
        return "stock, both arms"
    if row.role == TWIN:
        return "stock, second arm"
    return textwrap.shorten(row.display_name, NAME_LETTERS, placeholder="…")


def runs_of(facts: ReportFacts) -> tuple[list[DrawnRun], str, str]:
    """The deciding runs, or all, with the name of the metric and which way is better."""
    if not facts.runs.rows:
        return [], "", "lower"
    ids = [row.run_id for row in facts.runs.rows]
    points = facts.source.ask("points", PointRow, runs=ids).rows
    drawn = courses(facts, points, facts.source.ask("final_metrics", FinalRow, runs=ids).rows)
    deciding = [run for run in drawn.runs if run.deciding]
    return deciding or list(drawn.runs), drawn.metric, drawn.direction


def curves_of(runs: Sequence[DrawnRun], direction: str, top: float) -> list[Mapping[str, str]]:
    """A step line for each run: its best metric so far after each experiment. Better is up; the axis has what the runs
    reached, from the worst baseline to the best script."""
    best = {run.id: best_so_far(run, sign_of(direction)) for run in runs}
    most, (lowest, highest) = last_of(runs), reached(runs, direction)
    if not most:
        return []
    width = (highest - lowest) or 1.0

    def x(number: int) -> float:
        return round(FRAME["left"] + (FRAME["right"] - FRAME["left"]) * number / most, 1)

    def y(value: float) -> float:
        return round(FRAME["bottom"] - 8 - (FRAME["bottom"] - top - 16) * (value - lowest) / width, 1)

    curves: list[Mapping[str, str]] = []
    for run in sorted(runs, key=lambda run: run.role in OURS):  # ours above the others
        line = best[run.id]
        if line:
            steps = "".join(f" H{x(number)} V{y(value)}" for number, value in line[1:])
            path = f"M{x(line[0][0])} {y(line[0][1])}{steps} H{x(max(number for number, *_ in run.points))}"
            curves.append({"way": "ours" if run.role in OURS else "theirs", "path": path})
    return curves


def sign_of(direction: str) -> float:
    return -1.0 if direction == "lower" else 1.0


def reached(runs: Sequence[DrawnRun], direction: str) -> tuple[float, float]:
    """The worst and the best of what the runs reached, better being higher."""
    values = [value for run in runs for _, value in best_so_far(run, sign_of(direction))]
    return min(values, default=0.0), max(values, default=0.0)


def best_so_far(run: DrawnRun, sign: float) -> list[tuple[int, float]]:
    """Number and value (better is higher) of each experiment that was better than all before it."""
    line: list[tuple[int, float]] = []
    for experiment, metric, what, _ in run.points:
        if metric is None or what in (FAILED, ASIDE):
            continue
        if not line or sign * metric > line[-1][1]:
            line.append((experiment, sign * metric))
    return line
