"""What the study can and cannot tell, and what it would take to tell more."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.source import Answer
from analysis.study_power import Power
from analysis.wording import count, decimals, duration, number, typical

RATIOS = (1.1, 1.2, 1.5, 2.0, 3.0)
SDS = (0.25, 0.5, 1.0, 2.0)
TITLES = {"race": "opening race", "confirmation": "confirmation", "ablation": "ablation"}


@dataclass(frozen=True)
class RunCostRow:
    seconds: float | None


def section(facts: Facts) -> Section | None:
    """None where no match has two programs with two runs each."""
    found = facts.source.ask("power", Power)
    if facts.homes:  # a table has one unit
        found = replace(found, rows=tuple(row for row in found.rows if row.task == facts.task))
    if not found.rows:
        return None
    deciding = next((r for r in found.rows if r.match_id == facts.deciding.match_id), found.rows[-1])
    figures = [told_apart(facts, found, deciding)]
    if deciding.sd or deciding.sd_other:
        figures.append(what_it_takes(facts, found, deciding))
    return Section("power", "What this study can tell, and what not", lead(facts, deciding), tuple(figures))


def lead(facts: Facts, row: Power) -> str:
    """The deciding match in words: what it tells four times in five, and what stays open."""
    if row.detectable is None:
        return "Its runs did not differ at all, so their noise is unknown, and with it what they can tell."
    digits = decimals(row.detectable)
    size = f"{number(row.detectable, digits)} {facts.unit}{ratio(row)}"
    if row.comparison != "champion and stock":
        return (
            f"Runs of one program differ by luck. With {runs(row)} a program, two programs must truly differ by "
            f"{size} for this {name(row, facts)} to tell them apart four times in five; smaller differences stay "
            "open, whatever the order of the table."
        )
    text = (
        f"Runs of one program differ by luck. With {count(row.n)} runs of the champion and "
        f"{count(row.n_other)} of stock, the confirmation tells a true difference of {size} four times in five. "
    )
    if facts.homes:
        return (
            text + f"That is {facts.task} alone; the announced test is over {len(facts.homes)} tasks, and tells more."
        )
    champion = facts.champion.first
    if champion is None or not champion.holds:
        return text + "It told none, so a smaller difference than that may well be there."
    return text + f"It found {number(champion.difference, digits, True)}."


def told_apart(facts: Facts, found: Answer[Power], deciding: Power) -> Figure:
    digits = decimals(typical(row.detectable for row in found.rows))
    table = Table.of(
        found.rows,
        {
            "match": lambda row: f"{name(row, facts)}{' (decides)' if row is deciding else ''}",
            f">told, {facts.unit}": lambda row: number(row.detectable, digits),
            ">as ratio to stock": lambda row: number(row.detectable_ratio, 2),
            ">runs each": runs,
            f">sd between runs, {facts.unit}": lambda row: spread(row, digits),
            "compared": lambda row: row.comparison,
        },
    )
    return Figure(
        "power-matches", "none", "The smallest true difference that each match tells",
        "What is told four times in five, by the test that the match is judged by: of champion and stock, one-sided "
        "at 2.5%; of any two programs, at 5% over all pairs. Noncentral t distribution, for normal runs.",
        None, table, (found,), open=True,
    )  # fmt: skip


def what_it_takes(facts: Facts, found: Answer[Power], row: Power) -> Figure:
    """Fresh runs of each of two programs for differences of several sizes, with what they cost."""
    from analysis.power import runs_needed

    cost, price = facts.source.ask_one("run_cost", RunCostRow, match=row.match_id)
    sd = math.sqrt(((row.sd or 0.0) ** 2 + (row.sd_other or 0.0) ** 2) / 2)
    rows = []
    for difference, size in sizes(row, sd):
        needed = runs_needed(difference, sd)
        rows.append((
            size, number(difference, decimals(sd)), count(needed),
            duration(2 * needed * price.seconds) if needed is not None and price.seconds else "–",
        ))  # fmt: skip
    titles = ("if the better one gains", f">difference, {facts.unit}", ">runs of each program", ">device time of both")
    return Figure(
        "power-needed", "none", "What it would take to tell more",
        "Fresh runs of two programs, for a one-sided Welch test at 2.5% that tells the difference four times in "
        f"five, at the spread between runs that the {name(row, facts)} had (sd {number(sd, decimals(sd))} "
        f"{facts.unit}). Other sizes: metaloop power {shlex.quote(facts.source.place)} --difference X.",
        None, Table(titles, tuple(rows)), (found, cost), open=True,
    )  # fmt: skip


def sizes(row: Power, sd: float) -> list[tuple[float, str]]:
    """Differences to answer for, each in words: shares of stock's gain, else of the spread between runs."""
    stock = row.stock_gain
    if stock is not None and stock > 0:
        return [((times - 1.0) * stock, f"{times:g} times stock's gain") for times in RATIOS]
    return [(times * sd, f"{times:g} sd between runs more") for times in SDS]


def name(row: Power, facts: Facts) -> str:
    if row.purpose == "generation":
        return f"generation {row.generation}"
    if row.purpose == "race" and facts.config.get("command") == "match":
        return "match"
    return TITLES.get(row.purpose or "", row.purpose or "match")


def runs(row: Power) -> str:
    if row.n == row.n_other:
        return f"{count(row.n)} runs" if row.n != 1 else "1 run"
    return f"{count(row.n)} and {count(row.n_other)} runs"


def spread(row: Power, digits: int) -> str:
    """One sd where both sides share it, else that of the champion and that of stock."""
    if row.sd == row.sd_other:
        return number(row.sd, digits)
    return f"{number(row.sd, digits)} and {number(row.sd_other, digits)}"


def ratio(row: Power) -> str:
    return f" ({number(row.detectable_ratio, 1)} times stock's gain)" if row.detectable_ratio else ""
