"""Several tasks: gains in units of stock's gain, and the edits and directives that transfer.

None if all runs of the study are on one task.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from analysis.report.model import Point, ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import Unread
from analysis.report.source import QueryResult, clean
from analysis.study_power import STOCK
from analysis.transfer import (
    TWIN,
    Cell,
    Limits,
    StudyTasks,
    Transfer,
    both_arms,
    divisor,
    ratio_limits,
    transfer,
    transfer_runs,
)
from analysis.transfer_credit import SIGNIFICANT, STATES, Across, TaskEstimate, across
from analysis.wording import arm_name, chance, count, decimals, many, number, role_name, span, typical

_EDIT = re.compile(r"`([^`]+)`")
ROOM, LEAST_LABEL = 33, 14  # letters of a name beside a chart; of its label at least
MOST, FEW = 30, 8  # programs of a picture, rows of a kind
TITLES = {
    "edit": "Single changes of the untouched script, per experiment",
    "tries": "Directives, per experiment that cites them",
    "factorial": "Directives, switched on and off by a plan drawn beforehand",
    "without-ideas": "Idea lists: programs with them minus the same programs without them",
}
MEANING = (("program", "significantly better than stock at 5% (Holm)"), ("unmeasured", "not significant"))
# Of a task of the search, the estimates of metaloop credit.
COUNTED = (
    "On training tasks: the estimates of metaloop credit, from the search without the confirmation; n counts the same. "
    "Significance is corrected over this chart's rows on all tasks, in metaloop credit over all methods on one task, "
    "so a row can be significant in one of them only."
)
MODELLED = (
    "The effect on the untouched script is the model's, from all experiments that contain the change, most of which "
    "contain others too; metaloop credit --bundle EDIT --on EDITS estimates it on top of others. "
)
JUDGED = (
    "Each dot below is one task; 95% intervals. A row counts as significant if its interval excludes 0 and it is still "
    "significant at a false discovery rate of 5% over all rows and tasks of its chart. 'On training tasks only' means "
    "that the estimate on the other tasks is significantly smaller. "
)
BESIDE = (
    "A change that was tried almost only together with a harmful one has no figure: it may help only by undoing that "
    "harm. "
)


def section(facts: ReportFacts) -> ReportSection | None:
    study = transfer(facts.source.con)
    if not study.cells:
        return None
    answer = facts.source.ask("transfer", Unread)
    moved = across(facts.source.con, study.tasks, study.cells, transfer_runs(facts.source.con))
    reserve = (facts.champion.first.reserve if facts.champion.first else None) or ()
    variants = {on["task"] for on in reserve if on.get("variant")}  # an estimate: nothing is tested there
    limits = ratio_limits(facts.source.con, study.cells)
    drawn = beside_one(study.tasks, variants)
    figures = [] if drawn else [figure(study, task, answer, task not in variants, limits) for task in study.tasks.all]
    by_method = {name: [row for row in moved if row.method == name] for name in dict.fromkeys(r.method for r in moved)}
    several = {name: rows for name, rows in by_method.items() if any(on_several(row) for row in rows)}
    figures += [credited(method, rows, study, facts) for method, rows in several.items()]
    lead = drawn or (
        "Do programs that win on the training tasks, those of the search, also win on others? Each gain is divided by "
        f"stock's gain on that task, so 1 means as good as stock. Training: {', '.join(study.tasks.training)}. "
    )
    folded = [*([JUDGED, COUNTED] if several else []), *one_task_only(by_method)]
    return ReportSection("transfer", "Several tasks", lead, tuple(figures), more={"folded": folded})


def beside_one(tasks: StudyTasks, variants: AbstractSet[str]) -> str:
    """What is said instead of charts of the programs, in a study on one task that drew the other ones for an estimate:
    the part Standings has them all."""
    if len(tasks.training) > 1 or not variants >= set(tasks.other):
        return ""
    others = f" and on the held-out {', '.join(tasks.other)}" if tasks.other else ""
    return f"The gains of the programs on {tasks.training[0]}{others} are in the part Standings. "


def on_several(row: Across) -> bool:
    """Whether it has estimates on two tasks, so that they can be compared."""
    return sum(there.estimate is not None for there in row.there) > 1


def one_task_only(by_method: Mapping[str, Sequence[Across]]) -> list[str]:
    """Which methods have estimates on one task only, so that no chart compares tasks."""
    left = [TITLES[name] for name, rows in by_method.items() if not any(map(on_several, rows))]
    return [f"Estimated on one task only, so not shown here: {'; '.join(left)} (metaloop transfer)."] if left else []


def figure(
    study: Transfer,
    task: str,
    answer: QueryResult[Unread],
    tested: bool,
    limits: Mapping[tuple[str, str], Limits],
) -> ReportFigure:
    """The programs on one task that ran with one set of seeds and data: others cannot be compared with them."""
    every = [cell for cell in study.cells if cell.task == task]
    deciding = next((cell.stream for cell in every if cell.role == "champion"), every[0].stream)
    cells = [cell for cell in every if cell.stream == deciding]
    measured = sorted((c for c in cells if c.gain is not None and c.role not in STOCK), key=lambda c: -(c.gain or 0.0))
    drawn, stock, unit = measured[:MOST], divisor(cells), cells[0].unit
    left = f" The chart shows the {MOST} best." if len(measured) > MOST else ""
    if apart := len(every) - len(cells):
        left += (
            f" Left out: {many(apart, 'program')} that ran with other seeds and data than those of the {deciding}, so "
            "that their ratios cannot be compared. The part Standings has their gains."
        )
    relative = " relative to stock's"
    about_p = "The p-values belong to the tests in this table, which are not part of the verdict."
    divided = divided_by(cells, stock) + (about_p if tested else "An estimate: nothing is tested on this task.")
    shared = sum(cell.like_id is not None for cell in cells)
    alike = (
        f" {many(shared, 'program')} behaved like another one on this task and shares its figures." if shared else ""
    )
    return ReportFigure(
        name=f"transfer-{study.tasks.all.index(task)}",
        kind="effects",
        title=f"On {task} ({cells[0].task_kind}): gain{relative if stock else f', in {unit}'}",
        caption=f"95% intervals over runs. {divided}{alike}{left}",
        data={
            "unit": "× stock" if stock else unit,
            "label": "gain, × stock's" if stock else f"gain, {unit}",
            "digits": 2,
            "rows": [point(cell, stock, tested, limits) for cell in drawn],
        },
        table=table([*cells, *both_arms(cells)], stock, tested),
        answers=(answer,),
        legend=MEANING if tested else (),
        open=len(cells) <= MOST // 2,
    )


def divided_by(cells: Sequence[Cell], stock: Cell | None) -> str:
    """The mean of stock that the gains are divided by, or why they are not."""
    mean = next((cell.stock_gain for cell in cells if cell.role != TWIN and cell.stock_gain is not None), None)
    if mean is None:
        return ""
    shown = f"{number(mean, decimals(mean, 3))} {cells[0].unit}"
    if stock is None:
        return f"Gains are not divided by stock's, {shown}: it is not significantly above 0. "
    return (
        f"Gains are divided by the mean of all runs of stock, {shown}. The intervals of the ratios include its error "
        "(Fieller); the table has one-sided 95% lower bounds. "
    )


def point(cell: Cell, stock: Cell | None, tested: bool, limits: Mapping[tuple[str, str], Limits]) -> Point:
    """The gain, or its ratio to stock's with an interval that includes the error of stock's mean (``limits``)."""
    ends: Point = {"estimate": cell.gain, "low": cell.low, "high": cell.high}
    if stock is not None:
        low, high = limits.get((cell.task, cell.program_id), (None, None))
        ends = {"estimate": cell.ratio, "low": low, "high": high}
    significant = tested and cell.p_adjusted is not None and cell.p_adjusted < 0.05
    return {**ends, "n": cell.n, "name": name_of(cell), "significant": significant}


def name_of(cell: Cell) -> str:
    return arm_name(seen(cell.name), cell.role)


def seen(text: str | None) -> str:
    """Untrusted text on one line, without invisible characters."""
    return " ".join(str(clean(text or "")).split())


def table(cells: Sequence[Cell], stock: Cell | None, tested: bool) -> ReportTable:
    """``stock`` None: no ratios, because stock's gain is not significantly above 0."""
    digits = decimals(typical(cell.se for cell in cells))
    unit = cells[0].unit
    names = {cell.program_id: seen(cell.name) for cell in cells}
    return ReportTable.of(
        cells,
        {
            "program": name_of,
            "role": lambda cell: role_name(cell.role),
            f">gain, {unit}": lambda cell: number(cell.gain, digits),
            "95% interval": lambda cell: span(cell.low, cell.high, digits),
            ">× stock": lambda cell: number(None if stock is None or cell.role in STOCK else cell.ratio, 2),
            ">at least": lambda cell: number(None if stock is None or cell.role in STOCK else cell.ratio_lower, 2),
            ">p (Holm)": lambda cell: chance(cell.p_adjusted) if tested or cell.p is None else "not tested",
            ">runs": lambda cell: count(cell.n),
            "remark": lambda cell: f"behaves like {names.get(cell.like_id, cell.like_id)} here" if cell.like_id else "",
        },
    )


def credited(method: str, rows: Sequence[Across], study: Transfer, facts: ReportFacts) -> ReportFigure:
    """The estimates of one method on each task, the most significant first."""
    significant = [row for row in rows if row.outcome in SIGNIFICANT]
    shown = [row for kind in SIGNIFICANT for row in [row for row in significant if row.outcome == kind][:FEW]]
    drawn = [(row, there) for row in shown for there in row.there if there.scaled is not None]
    names = distinct([(brief_label(row), there.task) for row, there in drawn])
    left = f" The chart shows the first {FEW} of each class." if len(shown) < len(significant) else ""
    designs = ", ".join(sorted({row.design for row in rows}))
    return ReportFigure(
        name=f"transfer-{method}",
        kind="effects" if drawn else "none",
        title=f"{TITLES[method]}, relative to stock's gain",
        caption=f"{many(len(rows), 'row')}, {len(significant)} significant. "
        f"{(MODELLED + BESIDE) * (method == 'edit')}Design: {designs}.{left}",
        data={
            "unit": "× stock",
            "label": "× stock's gain",
            "digits": 2,
            "rows": [mark(there, name) for (_, there), name in zip(drawn, names, strict=True)],
        },
        table=across_table(rows, study),
        answers=(behind(method, facts),),
        legend=(("program", "significant"), ("unmeasured", "not significant")) if drawn else (),
    )


def behind(method: str, facts: ReportFacts) -> QueryResult[Unread]:
    """The query of a method's figures."""
    names = {"edit": "transfer_edit", "tries": "transfer_tries", "factorial": "transfer_effects"}
    return facts.source.ask(names.get(method, "transfer_lists"), Unread)


def mark(there: TaskEstimate, name: str) -> Point:
    ends: Point = {"estimate": there.scaled, "low": there.scaled_low, "high": there.scaled_high}
    return {**ends, "n": there.n, "name": name, "significant": there.state != "open"}


def brief_label(row: Across) -> str:
    """The edits of an idea, which distinguish it better than how its sentence begins; else the label."""
    text = seen(row.label)
    edits = _EDIT.findall(text)
    return f"{edits[0]} and {len(edits) - 1} more" if len(edits) > 2 else " ".join(edits) or text


def distinct(parts: Sequence[tuple[str, str]]) -> list[str]:
    """``LABEL on TASK``, cut to the room beside a chart so that no two are the same."""
    cut = [(_cut(label, ROOM - len(f" on {task}")), task) for label, task in parts]
    seen_times, names = Counter[tuple[str, str]](), list[str]()
    for one in cut:
        seen_times[one] += 1
        number_of = f" ({seen_times[one]})" if cut.count(one) > 1 else ""
        names.append(f"{one[0]}{number_of} on {one[1]}")
    return names


def _cut(text: str, room: int) -> str:
    room = max(room, LEAST_LABEL)
    return text if len(text) <= room else f"{text[: room - 1].rstrip()}…"


def label(row: Across) -> str:
    return seen(row.label)[:80]


def across_table(rows: Sequence[Across], study: Transfer) -> ReportTable:
    titles = ("what", "result", *(f">{task}" for task in study.tasks.all), "design")
    return ReportTable(
        titles, tuple((label(row), row.words, *(cell_of(there) for there in row.there), row.design) for row in rows)
    )


def cell_of(there: TaskEstimate) -> str:
    if there.estimate is None:
        return STATES[there.state]
    if there.scaled is None:
        return f"{number(there.estimate, 3, True)} {there.unit}"
    return f"{number(there.scaled, 2, True)} ({span(there.scaled_low, there.scaled_high, 2)}), n={there.n}"
