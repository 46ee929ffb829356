"""Statistical power: the differences that the matches can detect, and the runs needed for smaller ones."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.source import QueryResult
from analysis.study_power import Power
from analysis.wording import count, decimals, duration, number, typical

RATIOS = (1.1, 1.2, 1.5, 2.0, 3.0)
SDS = (0.25, 0.5, 1.0, 2.0)
TITLES = {"race": "opening race", "confirmation": "confirmation", "ablation": "ablation", "reserve": "held-out task"}


@dataclass(frozen=True)
class RunCostRow:
    seconds: float | None


def section(facts: ReportFacts) -> ReportSection | None:
    """None if no match has two programs with two runs each."""
    powers = facts.source.ask("power", Power)
    if facts.training_tasks:  # a table has one unit
        powers = replace(powers, rows=tuple(row for row in powers.rows if row.task == facts.task))
    if not powers.rows:
        return None
    deciding = next((r for r in powers.rows if r.match_id == facts.deciding.match_id), powers.rows[-1])
    figures = [detectable(facts, powers, deciding)]
    if deciding.sd or deciding.sd_other:
        figures.append(needed_runs(facts, powers, deciding))
    return ReportSection("power", "Statistical power", lead(facts, deciding), tuple(figures))


def lead(facts: ReportFacts, row: Power) -> str:
    """The difference that the deciding match detects with 80% power, in words."""
    if row.detectable is None:
        return "All runs gave the same result, so the noise and the power are unknown."
    digits = decimals(row.detectable)
    size = f"{number(row.detectable, digits)} {facts.unit}{ratio(row)}"
    if row.comparison != "champion and stock":
        return (
            f"With {runs(row)} per program, this {name(row, facts)} detects a true difference of {size}, between two "
            "programs with 80% power. Smaller differences may be noise, whatever the order in the table."
        )
    text = (
        f"With {count(row.n)} runs of the champion and {count(row.n_other)} of stock, the confirmation detects a true "
        f"difference of {size} with 80% power. "
    )
    if any(scale.family for scale in facts.scales.rows):
        return f"{text}This is for {facts.task} alone; the announced test is over new tasks of the families."
    if facts.training_tasks:
        return (
            text + f"This is for {facts.task} alone; the announced test uses {len(facts.training_tasks)} tasks and has "
            "more power."
        )
    champion = facts.champion.first
    if champion is None or not champion.holds:
        return text + "It was not significant, so a smaller true difference is possible."
    return text + f"The measured difference is {number(champion.difference, digits, True)}."


def detectable(facts: ReportFacts, powers: QueryResult[Power], deciding: Power) -> ReportFigure:
    digits = decimals(typical(row.detectable for row in powers.rows))
    table = ReportTable.of(
        powers.rows,
        {
            "match": lambda row: f"{name(row, facts)}{' (decides)' if row is deciding else ''}",
            f">detectable, {facts.unit}": lambda row: number(row.detectable, digits),
            ">as ratio to stock": lambda row: number(row.detectable_ratio, 2),
            ">runs each": runs,
            f">SD between runs, {facts.unit}": lambda row: spread(row, digits),
            "compared": lambda row: row.comparison,
        },
    )
    return ReportFigure(
        "power-matches",
        "none",
        "The smallest true difference that each match detects",
        "With 80% power, by the test that judges the match: champion against stock, one-sided at 2.5%; any two "
        "programs, at 5% over all pairs. Computed from the noncentral t distribution, for normally distributed runs.",
        None,
        table,
        (powers,),
        open=True,
    )


def needed_runs(facts: ReportFacts, powers: QueryResult[Power], row: Power) -> ReportFigure:
    """Fresh runs of each of two programs to detect differences of several sizes, with their cost."""
    from analysis.power import runs_needed

    cost, price = facts.source.ask_one("run_cost", RunCostRow, match=row.match_id)
    sd = math.sqrt(((row.sd or 0.0) ** 2 + (row.sd_other or 0.0) ** 2) / 2)
    rows = []
    for difference, size in sizes(row, sd):
        needed = runs_needed(difference, sd)
        rows.append(
            (
                size,
                number(difference, decimals(sd)),
                count(needed),
                duration(2 * needed * price.seconds) if needed is not None and price.seconds else "–",
            )
        )
    titles = ("if the better one gains", f">difference, {facts.unit}", ">runs of each program", ">device time of both")
    return ReportFigure(
        "power-needed",
        "none",
        "Runs needed to detect a difference",
        "Fresh runs of two programs for a one-sided Welch test at 2.5% with 80% power, given the SD between runs "
        f"of the {name(row, facts)} ({number(sd, decimals(sd))} {facts.unit}). Other sizes: "
        f"metaloop power {shlex.quote(facts.source.study)} --difference X.",
        None,
        ReportTable(titles, tuple(rows)),
        (powers, cost),
        open=True,
    )


def sizes(row: Power, sd: float) -> list[tuple[float, str]]:
    """Differences with a label each: multiples of stock's gain, or else of the SD between runs."""
    stock = row.stock_gain
    if stock is not None and stock > 0:
        return [((times - 1.0) * stock, f"{times:g} times stock's gain") for times in RATIOS]
    return [(times * sd, f"{times:g} SD between runs more") for times in SDS]


def name(row: Power, facts: ReportFacts) -> str:
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
    """One SD if both sides share it, else that of the champion and that of stock."""
    if row.sd == row.sd_other:
        return number(row.sd, digits)
    return f"{number(row.sd, digits)} and {number(row.sd_other, digits)}"


def ratio(row: Power) -> str:
    return f" (a gain {number(row.detectable_ratio, 1)} times stock's there)" if row.detectable_ratio else ""
