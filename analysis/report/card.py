"""A study's card, an SVG of 1200 by 630 pixels: the verdict, the standings, and the course of each deciding run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from analysis.report import verdict
from analysis.report.card_words import STOCK, card_headline, short_names, verdict_lines
from analysis.report.champion import researcher
from analysis.report.facts import gather
from analysis.report.model import ReportFacts, RunsSoFar
from analysis.report.progress import ASIDE, FAILED, DrawnRun, FinalRow, PointRow, courses
from analysis.report.source import ReportSource
from analysis.transfer import BOTH
from analysis.wording import decimals, duration, many, number, tick_step

if TYPE_CHECKING:
    import duckdb

MOST_HEADS, MOST_LINES, MOST_FEET, MOST_ARMS = 3, 5, 2, 4
ROOM = 24.0  # pixels of a program, at least
RIGHT = 1136.0  # pixels
HEAD_SMALL = 30  # pixels of the headline's letters, from its second line on
HEADS = {44: 36, HEAD_SMALL: 54}  # of the headline: pixels → characters of a line
KICKER, SAID, SMALL = 92, 92, 108  # characters of a line
NAME, MEASURE = 28, 38  # characters of a program's name, and below the curves
TICK = 80.0  # pixels between two ticks, about
MARGIN = 0.04  # of the axis, beyond the longest interval
AXIS = (400.0, 700.0)  # pixels: from the lowest to the highest gain
WHOLE_AXIS = (400.0, RIGHT)
FRAME = {"left": 760.0, "right": RIGHT, "bottom": 538.0}
COMPARED = ("champion", "control", BOTH)  # the rows that a card has in any case
SAMPLE, LETTER = 28, 11  # pixels in the legend: of a line, and of a letter


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
    """The words of a card. ``lines``: of the prose, the most important first; ``foot``: sentences below the charts."""

    kicker: str
    headline: str
    lines: Sequence[str]
    foot: Sequence[str]


class GainAxis(NamedTuple):
    """The axis of the gains: from ``low`` at ``left`` pixels to ``high`` at ``right``."""

    low: float
    high: float
    left: float
    right: float

    @classmethod
    def of(cls, rows: Sequence[CardRow], left: float, right: float) -> GainAxis:
        ends = [0.0, *(end for row in rows for end in (row.gain, row.low, row.high) if end is not None)]
        low, high = min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1.0
        margin = MARGIN * (high - low)  # an interval that ends at the edge would look cut
        return cls(low - margin if low < 0 else low, high + margin, left, right)

    def at(self, value: float | None) -> float | None:
        if value is None:
            return None
        return round(self.left + (self.right - self.left) * (value - self.low) / (self.high - self.low), 1)

    @property
    def ticks(self) -> list[tuple[float | None, str]]:
        step = tick_step(self.high - self.low, round((self.right - self.left) / TICK))
        values = [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [(self.at(value), number(value, decimals(step, 1)) if value else "0") for value in values]


class Rival(NamedTuple):
    """The program that the headline compares the champion with; ``words``: in the legend."""

    name: str
    words: str


class DrawnArm(TypedDict):
    """A program with its gain and interval in pixels."""

    name: str
    way: str
    y: float
    zero: float | None
    at: float | None
    low: float | None
    high: float | None


def card(con: duckdb.DuckDBPyConnection, study: str, unfinished: RunsSoFar | None = None) -> str:
    """The picture as SVG, for `metaloop report --card`."""
    from analysis.report.page import name_of

    facts = gather(ReportSource(con, study), unfinished=unfinished)
    shown, decision = verdict.verdict(facts), verdict.decided(facts)
    kicker = f"Metaloop: programs for automatic research · {facts.task} · {name_of(facts)}"
    how = setting(facts)  # it names the researcher, so that the cost need not say that there was no model
    headline, lines, rival = shown.headline, [shown.sentence], None
    if decision is not None:
        rival = None if decision.night else Rival(decision.tested.name, "yours" if decision.against_own else "stock")
        decision = short_names(decision)
        headline, lines = card_headline(decision), verdict_lines(decision, facts.champion.rows[0].reserve or ())
    cost = verdict.cost(facts, model=not how, short=True)
    if "stock" in headline:  # what that is, in the last line if there is room
        longer = f"{cost} {STOCK}"
        cost, lines = (longer, lines) if len(longer) <= SMALL else (cost, [*lines, STOCK])
    words = CardText(kicker, headline, lines, [how, cost])
    stock = verdict.stock_of(facts)
    rows = [row for row in facts.board if not stock or row.program_id != stock.program_id] + ([stock] if stock else [])
    rows.sort(key=lambda row: -(row.gain or 0.0))
    unit, compared = facts.board[0].unit if facts.board else None, [row for row in rows if row.role in COMPARED]
    gain = facts.gain_name.capitalize()
    return drawn_card(words, rows, unit or facts.unit, *runs_of(facts), always=compared, gain=gain, rival=rival)


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
    gain: str = "Verified gain",
    rival: Rival | None = None,
) -> str:
    """The card of these words and programs as SVG, ``unit`` that of the gains. The runs of the ``rival`` have a line of
    their own. Without runs the programs have its whole
    width, and as many are drawn as there is room for, those of ``always`` before others; the card says how many are
    not."""
    from analysis.report.page import environment

    size = next((size for size, most in HEADS.items() if len(words.headline) <= most), HEAD_SMALL)
    headline = lines_of([words.headline], HEADS[size], MOST_HEADS)
    below = 64 + size + (size + 6) * (len(headline) - 1) + 36
    sentence = lines_of(words.lines, SAID, MOST_LINES)
    top = below + 28 * len(sentence) + (44 if shown else 18)
    given, room = len(rows), MOST_ARMS if shown else max(MOST_ARMS, int((FRAME["bottom"] - top) / ROOM))
    others = [row for row in rows if row not in always][: max(0, room - len(always))]
    rows = [row for row in rows if row in always or row in others][:room]
    axis = GainAxis.of(rows, *(AXIS if shown else WHOLE_AXIS))
    ours = ours_of([*rows, *shown])
    bottom = FRAME["bottom"] if shown else top + row_step(rows, top, axis) * len(rows)
    return (
        environment()
        .get_template("card.svg.j2")
        .render(
            kicker=cut(words.kicker, KICKER),
            headline=headline,
            size=size,
            sentence=sentence,
            below=below,
            arms=arms_of(rows, top, axis, ours),
            ticks=axis.ticks,
            unit=unit,
            gain=gain,
            undrawn=f"{many(left, 'more program')} not drawn" if (left := given - len(rows)) else "",
            frame=FRAME | {"top": top, "bottom": bottom},
            curves=curves_of(shown, direction, top, ours, rival),
            legend=legend_of(shown, ours, rival),
            reached=[number(sign_of(direction) * value, 2) for value in reached(shown, direction)],
            sample=SAMPLE,
            measure=cut(f"{many(last_of(shown), 'experiment')}; {measure}", MEASURE),
            foot=lines_of(words.foot, SMALL, MOST_FEET),
        )
    )


class Played(Protocol):
    """What decides the colour of a program and of its runs."""

    @property
    def role(self) -> str | None: ...


def ours_of(shown: Sequence[Played]) -> str:
    """The role that is drawn in blue: the champion's; without one, that of every program."""
    return "champion" if any(one.role == "champion" for one in shown) else "program"


def way(one: Played, ours: str) -> str:
    """How it is drawn."""
    return "ours" if one.role == ours else "theirs"


def line_of(run: DrawnRun, ours: str, rival: Rival | None) -> str:
    """How its curve is drawn."""
    return "rest" if rival and run.role != ours and run.program != rival.name else way(run, ours)


def legend_of(runs: Sequence[DrawnRun], ours: str, rival: Rival | None) -> list[tuple[str, str, float]]:
    """Way and words of each kind of line, and where it begins."""
    others = {run.role for run in runs} - {ours}
    theirs = rival.words if rival else "stock" if others <= {"control"} else "the others"
    words = {"ours": "champion" if ours == "champion" else "programs", "theirs": theirs, "rest": "others"}
    drawn, at = {line_of(run, ours, rival) for run in runs}, FRAME["left"]
    legend: list[tuple[str, str, float]] = []
    for one in (kind for kind in words if kind in drawn):
        legend.append((one, words[one], round(at, 1)))
        at += SAMPLE + 22 + LETTER * len(words[one])
    return legend


def cut(text: str, most: int) -> str:
    """At most so many characters of a text; what is left out is marked."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def lines_of(texts: Sequence[str], width: int, most: int) -> list[str]:
    """The texts in at most ``most`` lines of ``width`` characters; what is left out is marked."""
    lines = [line for text in texts for line in wrap(text, width, break_on_hyphens=False)]
    return lines if len(lines) <= most else [*lines[: most - 1], cut(" ".join(lines[most - 1 : most + 1]), width)]


def last_of(runs: Sequence[DrawnRun]) -> int:
    """The number of the last experiment of all runs; the baseline has 0."""
    return max((number for run in runs for number, *_ in run.points), default=0)


def row_step(rows: Sequence[CardRow], top: float, axis: GainAxis) -> float:
    """Pixels from one program to the next; on a card without runs a few have more room."""
    return min(90.0 if axis.right == RIGHT else 52.0, (FRAME["bottom"] - top) / max(len(rows), 1))


def arms_of(rows: Sequence[CardRow], top: float, axis: GainAxis, ours: str) -> list[DrawnArm]:
    """The programs below each other, on one axis that has 0."""
    step = row_step(rows, top, axis)
    return [
        {
            "name": named(row),
            "way": way(row, ours),
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
    role = " (start)" if row.role == "start" else ""  # of the champion
    return cut(row.display_name, NAME - len(role)) + role


def runs_of(facts: ReportFacts) -> tuple[list[DrawnRun], str, str]:
    """The deciding runs, or all, with the name of the metric and which way is better."""
    if not facts.runs.rows:
        return [], "", "lower"
    ids = [row.run_id for row in facts.runs.rows]
    points = facts.source.ask("points", PointRow, runs=ids).rows
    drawn = courses(facts, points, facts.source.ask("final_metrics", FinalRow, runs=ids).rows)
    deciding = [run for run in drawn.runs if run.deciding]
    return deciding or list(drawn.runs), drawn.metric, drawn.direction


def curves_of(
    runs: Sequence[DrawnRun], direction: str, top: float, ours: str, rival: Rival | None
) -> list[Mapping[str, str]]:
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
    order = ("rest", "theirs", "ours")  # ours above the others
    for run in sorted(runs, key=lambda run: order.index(line_of(run, ours, rival))):
        line = best[run.id]
        if line:
            steps = "".join(f" H{x(number)} V{y(value)}" for number, value in line[1:])
            path = f"M{x(line[0][0])} {y(line[0][1])}{steps} H{x(max(number for number, *_ in run.points))}"
            curves.append({"way": line_of(run, ours, rival), "path": path})
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
