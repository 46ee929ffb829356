"""Several tasks: what each program gained there in units of stock's gain, whether ranks agree, what went along where.

Absent where all runs of a study are on one task.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.rank_correlation import RankCorrelation
from analysis.report.model import Facts, Figure, Point, Section, Table
from analysis.report.rows import Unread
from analysis.report.source import Answer, clean
from analysis.transfer import TWIN, Cell, Transfer, transfer, transfer_runs
from analysis.transfer_credit import STATES, Across, There, across
from analysis.wording import chance, count, decimals, many, number, percent, span, typical

MOST, FEW = 30, 8  # programs of a picture, rows of a kind
TITLES = {
    "edit": "Single changes of the script, per try",
    "tries": "Directives, per try that cites them",
    "having": "Directives, children that have them against parents that have not",
    "factorial": "Directives, switched by a plan drawn beforehand",
    "without-ideas": "Idea lists, programs that have them against the same without",
}
CLEAR = ("everywhere", "home", "elsewhere", "some", "hurts")


def section(facts: Facts) -> Section | None:
    found = transfer(facts.source.con)
    if not found.cells:
        return None
    answer = facts.source.ask("transfer", Unread)
    moved = across(facts.source.con, found.places, found.cells, transfer_runs(facts.source.con))
    figures = [figure(found, task, answer) for task in found.places.all]
    methods = list(dict.fromkeys(row.method for row in moved))
    figures += [credited(method, [row for row in moved if row.method == method], found, facts) for method in methods]
    lead = (
        "Does what wins at home win elsewhere? Each gain is divided by what stock gained on that task, so that 1 is as "
        f"good as stock on all of them. At home: {', '.join(found.places.home)}. "
        + " ".join(of_ranks(told) for told in found.correlations)
    )
    return Section("transfer", "Several tasks", lead, tuple(figures))


def of_ranks(told: RankCorrelation) -> str:
    pair = f"{told.task} and {told.other}"
    if told.estimate is None:
        return f"Whether ranks on {pair} agree cannot be told: {told.why}."
    return (
        f"Ranks of {many(told.n, 'program')} on {pair}: correlation {number(told.estimate, 2)} "
        f"[{number(told.low, 2)}, {number(told.high, 2)}] of the true gains; of the means as measured "
        f"{number(told.observed, 2)}, of whose spread {percent(told.reliability)} and "
        f"{percent(told.reliability_other)} is no noise."
    )


def figure(found: Transfer, task: str, answer: Answer[Unread]) -> Figure:
    """The programs on one task."""
    cells = [cell for cell in found.cells if cell.task == task]
    place = cells[0].kept
    drawn = [cell for cell in cells if cell.gain is not None][:MOST]
    left = f" The {MOST} best are drawn." if len(cells) > MOST else ""
    shared = sum(cell.like_id is not None for cell in cells)
    alike = f" {many(shared, 'program')} behaved like another one here and shares its figures." if shared else ""
    return Figure(
        name=f"transfer-{found.places.all.index(task)}",
        kind="effects",
        title=f"On {task} ({place}): gain in stock's mean gains",
        caption="95% intervals over runs, stock's mean taken as it is. The table's ratio counts the error of stock's "
        f"mean too (Fieller, one-sided 95%).{alike}{left}",
        data={"unit": "× stock", "label": "gain, × stock's", "digits": 2, "rows": [point(cell) for cell in drawn]},
        table=table(cells),
        answers=(answer,),
        legend=(("program", "told to be above stock at 5% (Holm)"), ("unmeasured", "not told from stock")),
        open=len(cells) <= MOST // 2,
    )


def point(cell: Cell) -> Point:
    scale = cell.stock_gain if cell.stock_gain and cell.stock_gain > 0 else None
    ends: Point = {
        key: None if value is None or scale is None else value / scale
        for key, value in (("estimate", cell.gain), ("low", cell.low), ("high", cell.high))
    }
    told = cell.p_adjusted is not None and cell.p_adjusted < 0.05
    return {**ends, "n": cell.n, "name": name_of(cell), "told": told}


def name_of(cell: Cell) -> str:
    return f"{seen(cell.name)} (A/A)" if cell.role == TWIN else seen(cell.name)


def seen(text: str | None) -> str:
    """Other people's text on one line, without what cannot be seen."""
    return " ".join(str(clean(text or "")).split())


def table(cells: Sequence[Cell]) -> Table:
    digits = decimals(typical(cell.se for cell in cells))
    unit = cells[0].unit
    names = {cell.program_id: seen(cell.name) for cell in cells}
    return Table.of(
        cells,
        {
            "program": lambda cell: seen(cell.name),
            "role": lambda cell: cell.role,
            f">gain, {unit}": lambda cell: number(cell.gain, digits),
            "95% interval": lambda cell: span(cell.low, cell.high, digits),
            ">× stock": lambda cell: number(cell.ratio, 2),
            ">at least": lambda cell: number(cell.ratio_lower, 2),
            ">p (Holm)": lambda cell: chance(cell.p_adjusted),
            ">runs": lambda cell: count(cell.n),
            "stream": lambda cell: cell.stream,
            "remark": lambda cell: f"behaves like {names.get(cell.like_id, cell.like_id)} here" if cell.like_id else "",
        },
    )


def credited(method: str, rows: Sequence[Across], found: Transfer, facts: Facts) -> Figure:
    """What went with a gain or a loss on which task, clearest first."""
    told = [row for row in rows if row.found in CLEAR]
    shown = [row for kind in CLEAR for row in [row for row in told if row.found == kind][:FEW]]
    drawn = [(row, there) for row in shown for there in row.there if there.scaled is not None]
    left = f" The first {FEW} of a kind are drawn." if len(shown) < len(told) else ""
    designs = ", ".join(sorted({row.design for row in rows}))
    return Figure(
        name=f"transfer-{method}",
        kind="effects" if drawn else "none",
        title=f"{TITLES[method]}: in stock's mean gains",
        caption=f"{many(len(rows), 'row')}, {len(told)} told apart, a mark a task. 95% intervals; false discoveries "
        "are held at 5% over all tasks together. Only at home means that it is told to be less elsewhere, and not only "
        f"that it is not shown there. Design: {designs}.{left}",
        data={"unit": "× stock", "label": "× stock's gain", "digits": 2, "rows": [mark(*pair) for pair in drawn]},
        table=across_table(rows, found),
        answers=(behind(method, facts),),
        legend=(("program", "told from zero"), ("unmeasured", "not told from zero")) if drawn else (),
    )


def behind(method: str, facts: Facts) -> Answer[Unread]:
    """The query behind a method's figures."""
    if method in ("having", "factorial"):
        return facts.source.ask("transfer_effects", Unread, method=method)
    name = {"edit": "transfer_edit", "tries": "transfer_tries"}.get(method, "transfer_lists")
    return facts.source.ask(name, Unread)


def mark(row: Across, there: There) -> Point:
    ends: Point = {"estimate": there.scaled, "low": there.scaled_low, "high": there.scaled_high}
    return {**ends, "n": there.n, "name": f"{label(row)} on {there.task}", "told": there.state != "open"}


def label(row: Across) -> str:
    return seen(row.label)[:80]


def across_table(rows: Sequence[Across], found: Transfer) -> Table:
    titles = ("what", "found", *(f">{task}" for task in found.places.all), "design")
    return Table(titles, tuple(
        (label(row), row.words, *(cell_of(there) for there in row.there), row.design) for row in rows
    ))  # fmt: skip


def cell_of(there: There) -> str:
    if there.estimate is None:
        return STATES[there.state]
    if there.scaled is None:
        return f"{number(there.estimate, 3, True)} {there.unit}"
    return f"{number(there.scaled, 2, True)} ({span(there.scaled_low, there.scaled_high, 2)}), n={there.n}"
