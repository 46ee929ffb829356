"""Planned ablations: what directives and kept commits are worth when they are left out. Absent where nobody ran one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.source import Answer
from analysis.report.words import chance, count, number, places, short, span, typical

MOST = 40  # rows of one picture
# (title, caption) of a method; {} is the program, or the run.
WORDS = {
    "factorial": (
        "Each directive of {}",
        "Every directive was switched on and off by a plan that was drawn before any of it ran; an effect is the "
        "gain of the runs that had it minus that of the runs that had not, on average over the others being there "
        "or not.",
    ),
    "shapley": (
        "Each kept commit of run {}, on average over orders",
        "The commits were put in one by one, in orders drawn at random: what each adds where it comes in.",
    ),
    "leave-one-out": (
        "Each kept commit of run {}, taken out of the final script",
        "The final script was trained with and without the commit.",
    ),
    "add-one-in": (
        "Each kept commit of run {}, alone on the untouched script",
        "The untouched script was trained with and without the commit.",
    ),
}
NOTHING = ("{}", "Gain with minus gain without.")


def section(facts: Facts) -> Section | None:
    found = facts.source.ask("ablation")
    if not found.rows:
        return None
    lead = (
        "Directives of a program, or commits that a run kept, were left out by a plan (metaloop ablate), and what "
        "remained was measured again. So a difference here is the effect of what was left out, and not of what it "
        "came with."
    )
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found.rows:
        groups.setdefault((row["method"], row["run_id"] or row["program_id"] or ""), []).append(row)
    figures = [figure(method, number_, rows, found) for number_, ((method, _), rows) in enumerate(groups.items())]
    return Section("ablation", "Planned ablation", lead, tuple(figures))


def figure(method: str, number_: int, rows: Sequence[dict[str, Any]], found: Answer) -> Figure:
    unit = rows[0]["unit"]
    digits = places(typical(row["se"] for row in rows))
    designs = ", ".join(sorted({row["design"] for row in rows}))
    left = f" The {MOST} largest are drawn." if len(rows) > MOST else ""
    title, caption = WORDS.get(method, NOTHING)
    return Figure(
        name=f"effects-{method}-{number_}",
        kind="effects",
        title=f"{title.format(short(rows[0]['run_id']) or rows[0]['program'])}: effect in {unit}",
        caption=f"{caption} 95% intervals; filled where the interval leaves zero out and false discoveries are held at "
        f"5%. Design: {designs}.{left}",
        data={"unit": unit, "digits": digits, "rows": [point(row) for row in rows[:MOST]]},
        table=table(rows, digits),
        answers=(found,),
        legend=(("program", "told from zero"), ("unmeasured", "not told from zero")),
        open=len(rows) <= MOST // 2,
    )


def told(row: dict[str, Any]) -> bool:
    """Whether an effect is told from zero, with false discoveries held at 5% over its method."""
    known = row["q"] is not None and row["low"] is not None
    return known and row["q"] < 0.05 and not row["low"] <= 0 <= row["high"]


def point(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("estimate", "low", "high", "n")} | {"name": row["label"] or "", "told": told(row)}


def table(rows: Sequence[dict[str, Any]], digits: int) -> Table:
    titles = ("what", ">effect", "95% interval", ">n", ">q", "design", "row")
    return Table.of(titles, [
        (row["label"] or "", number(row["estimate"], digits, True), span(row["low"], row["high"], digits),
         count(row["n"]), chance(row["q"]), row["design"], short(row["credit_id"]))
        for row in rows
    ])  # fmt: skip
