"""Several tasks: the gain of each program on each task. None if all runs of the study are on one task."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.report.model import Point, ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import Unread
from analysis.report.source import QueryResult, clean
from analysis.transfer import Cell, transfer_cells
from analysis.wording import arm_name, chance, count, decimals, number, role_name, span, typical

MOST = 30  # programs of a picture
LEAD = (
    "Do programs that win on the training tasks, those of the search, also win on others? Intervals are 95% between "
    "runs. × stock is the ratio to the mean of all runs of stock on the task, where that is significantly above 0."
)
CAPTION = "p: one-sided test against stock, after Holm; no part of the verdict."
ESTIMATE = "An estimate: nothing is tested on this task."
MEANING = (("program", "significantly better than stock at 5% (Holm)"), ("unmeasured", "not significant"))


def section(facts: ReportFacts) -> ReportSection | None:
    cells = transfer_cells(facts.source.con)
    reserve = (facts.champion.first.reserve if facts.champion.first else None) or ()
    variants = {on["task"] for on in reserve if on.get("variant")}  # an estimate: nothing is tested there
    home = {cell.task for cell in cells if cell.place == "home"}
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    if len(home) < 2 and variants >= set(tasks) - home:  # the standings have them all
        return None
    answer = facts.source.ask("transfer", Unread)
    figures = [figure(cells, number_, task, answer, task not in variants) for number_, task in enumerate(tasks)]
    return ReportSection("transfer", "Several tasks", LEAD, tuple(figures))


def figure(cells: Sequence[Cell], number_: int, task: str, answer: QueryResult[Unread], tested: bool) -> ReportFigure:
    """The programs on one task that ran with one set of seeds and data: others cannot be compared with them."""
    every = [cell for cell in cells if cell.task == task]
    deciding = next((cell.stream for cell in every if cell.role == "champion"), every[0].stream)
    own = [cell for cell in every if cell.stream == deciding]
    drawn, unit = own[:MOST], own[0].unit
    return ReportFigure(
        name=f"transfer-{number_}",
        kind="effects",
        title=f"On {task} ({own[0].task_kind}): gain, in {unit}",
        caption=CAPTION if tested else ESTIMATE,
        data={
            "unit": unit,
            "label": f"gain, {unit}",
            "digits": 2,
            "rows": [point(cell, tested) for cell in drawn],
        },
        table=table(own, tested),
        answers=(answer,),
        legend=MEANING if tested else (),
        open=len(own) <= MOST // 2,
    )


def point(cell: Cell, tested: bool) -> Point:
    significant = tested and cell.p_adjusted is not None and cell.p_adjusted < 0.05
    ends: Point = {"estimate": cell.gain, "low": cell.low, "high": cell.high}
    return {**ends, "n": cell.n, "name": arm_name(seen(cell.name), cell.role), "significant": significant}


def seen(text: str | None) -> str:
    """Untrusted text on one line, without invisible characters."""
    return " ".join(str(clean(text or "")).split())


def table(cells: Sequence[Cell], tested: bool) -> ReportTable:
    digits, names = decimals(typical(cell.se for cell in cells)), {c.program_id: seen(c.name) for c in cells}
    return ReportTable.of(
        cells,
        {
            "program": lambda cell: arm_name(seen(cell.name), cell.role),
            "role": lambda cell: role_name(cell.role),
            f">gain, {cells[0].unit}": lambda cell: number(cell.gain, digits),
            "95%, between runs": lambda cell: span(cell.low, cell.high, digits),
            ">× stock": lambda cell: number(cell.ratio, 2),
            ">p (Holm)": lambda cell: chance(cell.p_adjusted) if tested or cell.p is None else "not tested",
            ">runs": lambda cell: count(cell.n),
            "remark": lambda cell: f"behaves like {names.get(cell.like_id, cell.like_id)} here" if cell.like_id else "",
        },
    )
