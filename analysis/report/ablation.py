"""Planned ablations: what directives and kept commits are worth when they are left out. Absent where nobody ran one."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.report.model import Facts, Figure, Point, Section, Table
from analysis.report.rows import EffectRow
from analysis.report.source import Answer
from analysis.wording import chance, count, decimals, number, short, span, typical

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
    found = facts.source.ask("ablation", EffectRow)
    if not found.rows:
        return None
    lead = (
        "Directives of a program, or commits that a run kept, were left out by a plan (metaloop ablate), and what "
        "remained was measured again. So a difference here is the effect of what was left out, and not of what it "
        "came with."
    )
    groups: dict[tuple[str, str], list[EffectRow]] = {}
    for row in found.rows:
        groups.setdefault((row.method, row.run_id or row.program_id or ""), []).append(row)
    figures = [figure(method, number_, rows, found) for number_, ((method, _), rows) in enumerate(groups.items())]
    return Section("ablation", "Planned ablation", lead, tuple(figures))


def figure(method: str, number_: int, rows: Sequence[EffectRow], found: Answer[EffectRow]) -> Figure:
    unit = rows[0].unit
    digits = decimals(typical(row.se for row in rows))
    designs = ", ".join(sorted({row.design for row in rows}))
    left = f" The {MOST} largest are drawn." if len(rows) > MOST else ""
    title, caption = WORDS.get(method, NOTHING)
    return Figure(
        name=f"effects-{method}-{number_}",
        kind="effects",
        title=f"{title.format(short(rows[0].run_id) or rows[0].program)}: effect in {unit}",
        caption=f"{caption} 95% intervals; filled where the interval leaves zero out and false discoveries are held at "
        f"5%. Design: {designs}.{left}",
        data={"unit": unit, "digits": digits, "rows": [point(row) for row in rows[:MOST]]},
        table=table(rows, digits),
        answers=(found,),
        legend=(("program", "told from zero"), ("unmeasured", "not told from zero")),
        open=len(rows) <= MOST // 2,
    )


def point(row: EffectRow) -> Point:
    ends: Point = {"estimate": row.estimate, "low": row.low, "high": row.high}
    return {**ends, "n": row.n, "name": row.label or "", "told": row.is_significant}


def table(rows: Sequence[EffectRow], digits: int) -> Table:
    return Table.of(
        rows,
        {
            "what": lambda row: row.label or "",
            ">effect": lambda row: number(row.estimate, digits, True),
            "95% interval": lambda row: span(row.low, row.high, digits),
            ">n": lambda row: count(row.n),
            ">q": lambda row: chance(row.q),
            "design": lambda row: row.design,
            "row": lambda row: short(row.credit_id),
        },
    )
