"""Imported logs: what they claim, and the gain expected from noise alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from analysis.report.model import Point, ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import LogRow
from analysis.wording import brief, count, decimals, many, number, percent, typical

ORDINALS = ("first quarter", "second quarter", "third quarter", "last quarter")


@dataclass(frozen=True)
class LogTotalsRow:
    logs: int
    runs: int
    rows: int
    quarantined: int
    tried: int
    kept: int
    new_bests: int
    noise_known: int
    kept_known: int
    noise_steps: int | None


@dataclass(frozen=True)
class QuarterRow:
    """Its columns in the order in which the page embeds them."""

    quarter: int
    tried: int
    kept: int
    failed: int
    gain: float

    @property
    def category(self) -> str:
        return ORDINALS[self.quarter - 1]


def section(facts: ReportFacts) -> ReportSection | None:
    if not facts.logs.rows:
        return None
    answer, totals = facts.source.ask_one("log_totals", LogTotalsRow)
    quarters = facts.source.ask("log_quarters", QuarterRow)
    more = facts.logs.rows
    left = totals.logs - len({row.path for row in more})
    logs = ReportFigure(
        name="logs",
        kind="claims",
        title=f"What each log claims to have gained ({facts.measure})",
        caption="Claimed gain: the best kept measurement minus the baseline, as the log has it. Hollow dot: the gain "
        "that as many tries without any effect are expected to show by noise, if the noise is known. In the table: "
        "'with re-runs' uses the mean of repeated measurements; 'by noise' is the hollow dot as a share of the claim; "
        "'doubtful' counts rows whose status contradicts their metric; 'set aside' counts unreadable lines."
        + (f" {count(left)} more logs are not shown." if left > 0 else ""),
        data={"unit": facts.unit, "rows": [point(row) for row in more if drawn(facts, row)]},
        table=table(more),
        answers=(facts.logs, answer),
        open=True,
        legend=(("program", "claimed gain"), ("claimed", "gain expected from noise alone")),
    )
    rows = [{**asdict(row), "category": row.category} for row in quarters.rows]
    by_quarter = ReportFigure(
        name="quarters",
        kind="tried",
        title="Kept tries over the course of the logs",
        caption="If the last quarters keep little, the loop found no more gains, or none above the noise.",
        data={"unit": facts.unit, "rows": rows},
        table=quarter_table(quarters.rows, facts.unit),
        answers=(quarters,),
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )
    return ReportSection("logs", "Imported logs", lead(totals), (logs, by_quarter) if rows else (logs,))


def lead(row: LogTotalsRow) -> str:
    """The counts of the import, and how many of the kept steps noise can explain."""
    text = f"{many(row.logs, 'log')}: {many(row.rows, 'row')} imported, {many(row.quarantined, 'line')} set "
    text += "aside. "
    text += f"{count(row.kept)} of {many(row.tried, 'try')} were kept"
    if row.new_bests:
        text += f", and {many(row.new_bests, 'new best')} in logs that do not say what was kept"
    if row.noise_known and row.noise_steps is not None:
        where = "" if row.noise_known == row.runs else " where the noise is known"
        return (
            f"{text}. {count(row.noise_steps)} of the {count(row.kept_known)} kept steps{where} may be noise: "
            "as many tries without any effect would keep a step of that size with a probability of 5% or more."
        )
    return f"{text}. No log measured anything twice, so the noise is unknown."


def drawn(facts: ReportFacts, row: LogRow) -> bool:
    """Whether the chart shows a log: it claims a gain in the metric of the axis."""
    return row.claimed_gain is not None and row.metric == facts.metric


def point(row: LogRow) -> Point:
    return {
        "name": row.name or row.path,
        "gain": row.claimed_gain,
        "noise": row.chance_gain,
        "kept": f"{count(row.kept)}/{count(row.tried)}",
    }


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
            ">tried": lambda row: count(row.tried),
            ">failed": lambda row: count(row.failed),
            ">doubtful": lambda row: count(row.contradictions or 0),
            ">set aside": lambda row: count(row.quarantined),
            "metric": lambda row: f"{row.metric or ''} ({row.direction or 'unsure'})",
            "state": lambda row: f"{row.state}{': ' + row.reason if row.reason else ''}",
        },
    )


def quarter_table(rows: Sequence[QuarterRow], unit: str) -> ReportTable:
    return ReportTable.of(
        rows,
        {
            "part": lambda row: row.category,
            ">tried": lambda row: count(row.tried),
            ">kept": lambda row: f"{count(row.kept)} ({percent(row.kept / row.tried)})",
            ">failed": lambda row: count(row.failed),
            f">gain of kept, {unit}": lambda row: brief(row.gain),
        },
    )
