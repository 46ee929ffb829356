"""What logs of others came to, where the study is an import: claims, how much of them noise alone would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import brief, count, many, number, percent, places, typical

ORDINALS = ("first quarter", "second quarter", "third quarter", "last quarter")


def section(facts: Facts) -> Section | None:
    if not facts.logs.rows:
        return None
    totals, quarters = facts.source.ask("log_totals"), facts.source.ask("log_quarters")
    more = facts.logs.rows
    left = totals.first["logs"] - len({row["path"] for row in more})
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
        answers=(facts.logs, totals),
        open=True,
        legend=(("program", "claimed gain"), ("claimed", "what noise alone would give")),
    )
    rows = [dict(row) | {"category": ORDINALS[row["quarter"] - 1]} for row in quarters.rows]
    course = Figure(
        name="quarters",
        kind="tried",
        title="Kept tries over the course of the logs",
        caption="Where little is kept towards the end, the search had run dry, or the noise had the last word.",
        data={"unit": facts.unit, "rows": rows},
        table=quarter_table(rows, facts.unit),
        answers=(quarters,),
        legend=(("bar-kept", "kept"), ("bar-discarded", "discarded"), ("bar-failed", "failed")),
    )
    return Section("logs", "What was imported", lead(totals.first), (logs, course) if rows else (logs,))


def lead(row: dict[str, Any]) -> str:
    """What came in, and how much of what was kept noise explains."""
    text = f"{many(row['logs'], 'log')}: {many(row['rows'], 'row')} imported, {many(row['quarantined'], 'line')} set "
    text += "aside. "
    text += f"{count(row['kept'])} of {many(row['tried'], 'try')} were kept"
    if row["noise_known"] and row["noise_steps"] is not None:
        where = "" if row["noise_known"] == row["runs"] else " where the noise is known"
        return (
            f"{text}. {count(row['noise_steps'])} of the {count(row['kept_known'])} kept steps{where} may be noise: "
            "as many tries that change nothing would keep a step of that size with a chance of 5% or more."
        )
    return f"{text}; no log measured anything twice, so nothing tells how much of that is noise."


def drawn(facts: Facts, row: dict[str, Any]) -> bool:
    """Whether a log stands in the picture: it gained something in the metric that the axis shows."""
    return row["claimed_gain"] is not None and row["metric"] == facts.metric


def point(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"] or row["path"],
        "gain": row["claimed_gain"],
        "noise": row["chance_gain"],
        "kept": f"{count(row['kept'])}/{count(row['tried'])}",
    }


def table(rows: Sequence[dict[str, Any]]) -> Table:
    digits = places(typical(row["claimed_gain"] for row in rows), 3)
    titles = (
        "log",
        ">claimed gain",
        ">with re-runs",
        ">by noise",
        ">baseline",
        ">best kept",
        ">kept",
        ">tried",
        ">failed",
        ">doubtful",
        ">set aside",
        "metric",
        "state",
    )
    return Table.of(
        titles,
        [
            (
                row["name"] or row["path"] or "",
                number(row["claimed_gain"], digits),
                number(row["rerun_gain"], digits),
                percent(row["noise_share"]),
                brief(row["baseline"], 5),
                brief(row["best_kept"], 5),
                count(row["kept"]),
                count(row["tried"]),
                count(row["failed"]),
                count(row["contradictions"] or 0),
                count(row["quarantined"]),
                f"{row['metric'] or ''} ({row['direction'] or 'unsure'})",
                f"{row['state']}{': ' + row['reason'] if row['reason'] else ''}",
            )
            for row in rows
        ],
    )


def quarter_table(rows: Sequence[dict[str, Any]], unit: str) -> Table:
    titles = ("part", ">tried", ">kept", ">failed", f">gain of kept, {unit}")
    return Table.of(
        titles,
        [
            (
                row["category"],
                count(row["tried"]),
                f"{count(row['kept'])} ({percent(row['kept'] / row['tried'])})",
                count(row["failed"]),
                brief(row["gain"]),
            )
            for row in rows
        ],
    )
