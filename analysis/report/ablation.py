"""Planned ablations: the effect of each directive or kept commit. None if the study has no ablation."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.report.model import Point, ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import EffectRow
from analysis.report.source import QueryResult
from analysis.wording import chance, count, decimals, number, short, span, typical

MOST = 40  # rows of one picture
# (title, caption) of a method; {} is the program, or the run.
WORDS = {
    "factorial": (
        "Each directive of {}",
        "A plan drawn before the first run switched every directive on and off. An effect is the mean gain of the runs "
        "with the directive minus that of the runs without it, averaged over the settings of the others.",
    ),
    "leave-one-out": (
        "Each kept commit of run {}, taken out of the final script",
        "The final script was trained with and without the commit.",
    ),
}


def section(facts: ReportFacts) -> ReportSection | None:
    effects = facts.source.ask("ablation", EffectRow)
    if not effects.rows:
        return None
    lead = (
        "metaloop ablate left out directives of a program, or kept commits of a run, by a plan and measured the rest "
        "again. So each difference is caused by what was left out."
    )
    groups: dict[tuple[str, str], list[EffectRow]] = {}
    for row in effects.rows:
        groups.setdefault((row.method, row.run_id or row.program_id or ""), []).append(row)
    figures = [figure(method, number_, rows, effects) for number_, ((method, _), rows) in enumerate(groups.items())]
    return ReportSection("ablation", "Planned ablation", lead, tuple(figures))


def figure(method: str, number_: int, rows: Sequence[EffectRow], effects: QueryResult[EffectRow]) -> ReportFigure:
    unit = rows[0].unit
    digits = decimals(typical(row.se for row in rows))
    designs = ", ".join(sorted({row.design for row in rows}))
    left = f" The chart shows the {MOST} largest." if len(rows) > MOST else ""
    title, caption = WORDS[method]
    return ReportFigure(
        name=f"effects-{method}-{number_}",
        kind="effects",
        title=f"{title.format(short(rows[0].run_id) or rows[0].program)}: effect in {unit}",
        caption=f"{caption} 95% intervals. A filled dot is statistically significant (interval excludes zero, false "
        f"discovery rate 5%). Design: {designs}.{left}",
        data={"unit": unit, "digits": digits, "rows": [point(row) for row in rows[:MOST]]},
        table=table(rows, digits),
        answers=(effects,),
        legend=(("program", "significant"), ("unmeasured", "not significant")),
        open=len(rows) <= MOST // 2,
    )


def point(row: EffectRow) -> Point:
    ends: Point = {"estimate": row.estimate, "low": row.low, "high": row.high}
    return {**ends, "n": row.n, "name": row.label or "", "significant": row.is_significant}


def table(rows: Sequence[EffectRow], digits: int) -> ReportTable:
    return ReportTable.of(
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
