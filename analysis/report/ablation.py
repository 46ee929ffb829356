"""Planned ablations: what directives and kept commits are worth when they are left out. Absent where nobody ran one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.source import Answer
from analysis.report.words import chance, count, number, places, short, span, typical

MOST = 40  # rows of one picture
MEANING = {
    "factorial": "directives of one program, switched on and off by a plan that was drawn before any of it ran",
    "ablation": "directives of one program, switched on and off by a plan that was drawn before any of it ran",
    "add-one-in": "kept commits, each put alone on the untouched script and trained again",
    "leave-one-out": "kept commits, each taken out of the final script, which was trained again",
    "shapley": "kept commits, each put in at random places of the order they can come in",
}


def section(facts: Facts) -> Section | None:
    found = facts.source.ask("ablation")
    if not found.rows:
        return None
    lead = (
        "Something was left out by a plan, and what remained was measured again. So a difference is the effect of what "
        "was left out, and not of what it came with."
    )
    methods = dict.fromkeys(row["method"] for row in found.rows)
    figures = [figure(method, [row for row in found.rows if row["method"] == method], found) for method in methods]
    return Section("ablation", "Planned ablation", lead, tuple(figures))


def figure(method: str, rows: Sequence[dict[str, Any]], found: Answer) -> Figure:
    unit = rows[0]["unit"]
    digits = places(typical(row["se"] for row in rows))
    designs = ", ".join(sorted({row["design"] for row in rows}))
    left = f" The {MOST} largest are drawn." if len(rows) > MOST else ""
    return Figure(
        name=f"effects-{method}",
        kind="effects",
        title=f"{method[:1].upper()}{method[1:]}: effect in {unit}",
        caption=f"{MEANING.get(method, method)[:1].upper()}{MEANING.get(method, method)[1:]}; gain with minus gain "
        f"without, 95% interval. Design: {designs}.{left}",
        data={"unit": unit, "digits": digits, "rows": [point(row) for row in rows[:MOST]]},
        table=table(rows, digits),
        answers=(found,),
        legend=(("program", "told from zero"), ("unmeasured", "not told from zero")),
        open=len(rows) <= MOST,
    )


def point(row: dict[str, Any]) -> dict[str, Any]:
    known = row["q"] is not None and row["low"] is not None
    told = known and row["q"] < 0.05 and not row["low"] <= 0 <= row["high"]
    return {key: row[key] for key in ("estimate", "low", "high", "n")} | {"name": row["label"] or "", "told": told}


def table(rows: Sequence[dict[str, Any]], digits: int) -> Table:
    titles = ("what", ">effect", "95% interval", ">n", ">q", "design", "row")
    return Table.of(titles, [
        (row["label"] or "", number(row["estimate"], digits, True), span(row["low"], row["high"], digits),
         count(row["n"]), chance(row["q"]), row["design"], short(row["credit_id"]))
        for row in rows
    ])  # fmt: skip
