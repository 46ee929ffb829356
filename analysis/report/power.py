"""Statistical power: the differences that the matches can detect, and the runs needed for smaller ones."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.study_power import Power
from analysis.wording import count, decimals, duration, number, typical

RATIOS = (1.1, 1.2, 1.5, 2.0, 3.0)
SDS = (0.25, 0.5, 1.0, 2.0)
TITLES = {"race": "opening race", "confirmation": "confirmation", "ablation": "ablation", "reserve": "held-out task"}
LEAD = "Smaller differences than the detectable one may be noise, whatever the order in the standings."
CAPTION = (
    "With 80% power, by the test that judges the match: champion against stock, one-sided at 2.5%; any two programs, "
    "at 5% over all pairs. Computed from the noncentral t distribution, for normally distributed runs."
)
NEEDED = (
    "Fresh runs of two programs for a one-sided Welch test at 2.5% with 80% power, given the SD between runs of the "
    "match that decides. Other sizes: metaloop power {study} --difference X."
)


@dataclass(frozen=True)
class RunCostRow:
    seconds: float | None


def section(facts: ReportFacts) -> ReportSection | None:
    """None if no match has two programs with two runs each."""
    from analysis.power import runs_needed

    powers = facts.source.ask("power", Power)
    if facts.training_tasks:  # a table has one unit
        powers = replace(powers, rows=tuple(row for row in powers.rows if row.task == facts.task))
    if not powers.rows:
        return None
    deciding = next((r for r in powers.rows if r.match_id == facts.deciding.match_id), powers.rows[-1])
    digits = decimals(typical(row.detectable for row in powers.rows))
    table = ReportTable.of(
        powers.rows,
        {
            "match": lambda row: f"{name(row, facts)}{' (decides)' if row is deciding else ''}",
            f">detectable, {facts.unit}": lambda row: number(row.detectable, digits),
            ">as ratio to stock": lambda row: number(row.detectable_ratio, 2),
            ">runs": lambda row: count(row.n),
            ">against": lambda row: count(row.n_other),
            f">SD between runs, {facts.unit}": lambda row: number(row.sd, digits),
            ">SD of the other": lambda row: number(row.sd_other, digits),
            "compared": lambda row: row.comparison,
        },
    )
    title = "The smallest true difference that each match detects"
    figures = [ReportFigure("power-matches", "none", title, CAPTION, None, table, (powers,), open=True)]
    sd = math.sqrt(((deciding.sd or 0.0) ** 2 + (deciding.sd_other or 0.0) ** 2) / 2)
    if sd:
        cost, price = facts.source.ask_one("run_cost", RunCostRow, match=deciding.match_id)
        rows = []
        for difference, size in sizes(deciding, sd):
            needed = runs_needed(difference, sd)
            time = duration(2 * needed * price.seconds) if needed is not None and price.seconds else "–"
            rows.append((size, number(difference, decimals(sd)), count(needed), time))
        titles = ("if the better one gains", f">difference, {facts.unit}", ">runs of each program", ">device time")
        caption = NEEDED.format(study=shlex.quote(facts.source.study))
        needs = ReportTable(titles, tuple(rows))
        title = "Runs needed to detect a difference"
        figures.append(ReportFigure("power-needed", "none", title, caption, None, needs, (powers, cost), open=True))
    return ReportSection("power", "Statistical power", LEAD, tuple(figures))


def sizes(row: Power, sd: float) -> list[tuple[float, str]]:
    """Differences with a label each: multiples of stock's gain where it may divide, or else of the SD between runs."""
    if row.detectable_ratio is not None and row.stock_gain is not None:
        return [((times - 1.0) * row.stock_gain, f"{times:g} times stock's gain") for times in RATIOS]
    return [(times * sd, f"{times:g} SD between runs more") for times in SDS]


def name(row: Power, facts: ReportFacts) -> str:
    if row.purpose == "generation":
        return f"generation {row.generation}"
    if row.purpose == "race" and facts.config.get("command") == "match":
        return "match"
    return TITLES.get(row.purpose or "", row.purpose or "match")
