"""What logs of others came to, where the study is an import: claims, how much of them noise alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from analysis.report.model import Facts, Figure, Point, Section, Table
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


def section(facts: Facts) -> Section | None:
    if not facts.logs.rows:
        return None
    answer, totals = facts.source.ask_one("log_totals", LogTotalsRow)
    quarters = facts.source.ask("log_quarters", QuarterRow)
    more = facts.logs.rows
    left = totals.logs - len({row.path for row in more})
    logs = Figure(
        name="logs",
        kind="claims",
        title=f"What each log claims to have gained ({facts.measure})",
        caption="From the baseline to the best that was kept, as the log has it; the hollow mark is what the best of "
        "as many tries that change nothing would seem to gain, where the log tells its noise. In the table: with "
        "re-runs, the gain where repeated measurements stand in for what they repeat; by noise, the hollow mark as "
        "a share of the claim; doubtful, rows whose status and metric do not go together; set aside, lines that "
        "could not be read." + (f" {count(left)} more logs are left out." if left > 0 else ""),
        data={"unit": facts.unit, "rows": [point(row) for row in more if drawn(facts, row)]},
        table=table(more),
        answers=(facts.logs, answer),
        open=True,
        legend=(("program", "claimed gain"), ("claimed", "what noise alone would give")),
    )
    rows = [{**asdict(row), "category": row.category} for row in quarters.rows]
    course = Figure(
        name="quarters",
        kind="tried",
        title="Kept tries over the course of the logs",
        caption="Where little is kept towards the end, the search had run dry, or the noise had the last word.",
        data={"unit": facts.unit, "rows": rows},
        table=quarter_table(quarters.rows, facts.unit),
        answers=(quarters,),
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )
    return Section("logs", "What was imported", lead(totals), (logs, course) if rows else (logs,))


def lead(row: LogTotalsRow) -> str:
    """What came in, and how much of what was kept noise explains."""
    text = f"{many(row.logs, 'log')}: {many(row.rows, 'row')} imported, {many(row.quarantined, 'line')} set "
    text += "aside. "
    text += f"{count(row.kept)} of {many(row.tried, 'try')} were kept"
    if row.noise_known and row.noise_steps is not None:
        where = "" if row.noise_known == row.runs else " where the noise is known"
        return (
            f"{text}. {count(row.noise_steps)} of the {count(row.kept_known)} kept steps{where} may be noise: "
            "as many tries that change nothing would keep a step of that size with a chance of 5% or more."
        )
    return f"{text}; no log measured anything twice, so nothing tells how much of that is noise."


def drawn(facts: Facts, row: LogRow) -> bool:
    """Whether a log stands in the picture: it gained something in the metric that the axis shows."""
    return row.claimed_gain is not None and row.metric == facts.metric


def point(row: LogRow) -> Point:
    return {
        "name": row.name or row.path,
        "gain": row.claimed_gain,
        "noise": row.chance_gain,
        "kept": f"{count(row.kept)}/{count(row.tried)}",
    }


def table(rows: Sequence[LogRow]) -> Table:
    digits = decimals(typical(row.claimed_gain for row in rows), 3)
    return Table.of(
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


def quarter_table(rows: Sequence[QuarterRow], unit: str) -> Table:
    return Table.of(
        rows,
        {
            "part": lambda row: row.category,
            ">tried": lambda row: count(row.tried),
            ">kept": lambda row: f"{count(row.kept)} ({percent(row.kept / row.tried)})",
            ">failed": lambda row: count(row.failed),
            f">gain of kept, {unit}": lambda row: brief(row.gain),
        },
    )
