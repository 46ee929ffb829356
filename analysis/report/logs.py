"""Imported logs: what they claim, and the gain expected from noise alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import LogRow
from analysis.wording import brief, count, decimals, number, percent, typical

LEAD = """{rows} rows imported, {quarantined} lines set aside. {kept} of {tried} tries were kept or were new bests,
{known} of them in logs whose noise is known; {distinguishable} of these are distinguishable from noise: as many tries
without any effect have such a step with a probability of at most 5%."""
CAPTION = """Claimed gain: the best kept measurement minus the baseline, as the log has it. Hollow dot: the gain that
as many tries without any effect are expected to show by noise, if the noise is known. In the table: 'with re-runs' uses
the mean of repeated measurements; 'by noise' is the hollow dot as a share of the claim; 'set aside' counts lines that
are no rows."""


@dataclass(frozen=True)
class LogTotalsRow:
    logs: int
    rows: int
    quarantined: int
    tried: int
    kept: int
    new_bests: int
    kept_known: int
    distinguishable: int


def section(facts: ReportFacts) -> ReportSection | None:
    rows = facts.logs.rows
    if not rows:
        return None
    answer, totals = facts.source.ask_one("log_totals", LogTotalsRow)
    drawn = [row for row in rows if row.claimed_gain is not None and row.metric == facts.metric]
    points = [
        {
            "name": row.name or row.path,
            "gain": row.claimed_gain,
            "noise": row.chance_gain,
            "kept": f"{count(row.kept)}/{count(row.tried)}",
        }
        for row in drawn
    ]
    figure = ReportFigure(
        name="logs",
        kind="claims",
        title=f"What each log claims to have gained ({facts.measure})",
        caption=CAPTION,
        data={"unit": facts.unit, "rows": points},
        table=table(rows),
        answers=(facts.logs, answer),
        open=True,
        legend=(("program", "claimed gain"), ("claimed", "gain expected from noise alone")),
    )
    lead = LEAD.format(
        rows=count(totals.rows),
        quarantined=count(totals.quarantined),
        kept=count(totals.kept + totals.new_bests),
        tried=count(totals.tried),
        known=count(totals.kept_known),
        distinguishable=count(totals.distinguishable),
    )
    return ReportSection("logs", "Imported logs", lead, (figure,))


def table(rows: Sequence[LogRow]) -> ReportTable:
    digits = decimals(typical(row.claimed_gain for row in rows), 3)
    return ReportTable.of(
        rows,
        {
            "log": lambda row: row.name or row.path,
            ">claimed gain": lambda row: number(row.claimed_gain, digits),
            ">with re-runs": lambda row: number(row.rerun_gain, digits),
            ">by noise": lambda row: percent(row.noise_share),
            ">baseline": lambda row: brief(row.baseline, 5),
            ">best kept": lambda row: brief(row.best_kept, 5),
            ">kept": lambda row: count(row.kept),
            ">not noise": lambda row: count(row.distinguishable),
            ">tried": lambda row: count(row.tried),
            ">failed": lambda row: count(row.failed),
            ">set aside": lambda row: count(row.quarantined),
            "metric": lambda row: f"{row.metric or ''} ({row.direction or 'unclear'})",
            "state": lambda row: f"{row.state}{': ' + row.reason if row.reason else ''}",
        },
    )
