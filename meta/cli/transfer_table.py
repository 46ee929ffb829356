"""The tables of transfer: gains per task, rank correlations, and what went with a gain everywhere or only at home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import at_least, decimals, many, plain_number, plain_span
from meta.cli import resolve
from meta.cli.output import Column, Output, Row, table
from programs.errors import NotComparable

if TYPE_CHECKING:
    from analysis.over_reserved import OverReserved
    from analysis.rank_correlation import RankCorrelation
    from analysis.transfer import Cell, Transfer
    from analysis.transfer_credit import Across

PLAIN = tuple(
    Column(key)
    for key in (
        "task", "place", "name", "role", "n", "gain", "low", "high", "se", "unit", "ratio", "ratio_lower", "p",
        "p_adjusted", "stock_gain", "like_id", "stream", "trust", "program_id",
    )
)  # fmt: skip
COLUMNS = (
    Column("program", flex=True, style="bold"),
    Column("gain", right=True, style="green"),
    Column("95%", right=True),
    Column("ratio", "× stock", right=True),
    Column("lower", "at least", right=True),
    Column("p", right=True),
    Column("n", right=True),
)
LEGEND = "at least: one-sided 95% lower bound of the ratio; p: of no more than stock's gain, by Holm within a task"
MARK = "°"  # of rows on another stream than the first one of their table
MOST = 12  # rows of a class that are shown to a person; --json has all
CLEAR = ("everywhere", "home", "elsewhere", "some", "hurts")


def present(out: Output, folder: Path) -> None:
    """All that a study tells of transfer. Raises NotComparable where its runs are on one task."""
    from analysis.transfer import transfer, transfer_runs
    from analysis.transfer_credit import across

    with resolve.connect(folder, []) as con:
        found = transfer(con)
        if not found.cells:
            raise NotComparable(
                f"{resolve.shown(folder)} has runs on one task only: it tells nothing of transfer",
                hint="metaloop transfer PROGRAM --task a,b; metaloop evolve --reserve b",
            )
        moved = across(con, found.tasks, found.cells, transfer_runs(con))
    if out.mode == "json":
        out.json({"study": resolve.shown(folder), **as_json(found), "across": [row_json(row) for row in moved]})
        return
    if out.mode == "plain":
        out.rows([asdict(cell) for cell in found.cells], PLAIN)
    else:
        show_cells(out, found.cells)
    for line in (*of_all_ranks(found.correlations), *aa_lines(found.cells), LEGEND):
        out.note(line)
    show_across(out, moved, found.tasks.all)
    place = resolve.typed(folder)
    out.note(f"next: metaloop standings {place} --all, metaloop transfer {place} --json, metaloop report {place}")


def as_json(found: Transfer) -> Row:
    return {
        "home": list(found.tasks.training), "elsewhere": list(found.tasks.other),
        "cells": [asdict(cell) for cell in found.cells],
        "rank_correlations": [asdict(told) for told in found.correlations],
    }  # fmt: skip


def row_json(row: Across) -> Row:
    fields = asdict(row)
    fields["found"] = fields.pop("outcome")
    return {**fields, "words": row.words, "design": row.design, "causal": row.causal}


def show_cells(out: Output, cells: Sequence[Cell], claims: Mapping[str, float | None] | None = None) -> None:
    """A table a task; ``claims``: the p of the tests that a study announced, by task, in place of those of the view."""
    from rich.text import Text

    for task in dict.fromkeys(cell.task for cell in cells):
        own = [cell for cell in cells if cell.task == task]
        first = own[0]
        streams = "/".join(dict.fromkeys(cell.stream for cell in own))
        out.show(Text(f"{task} ({first.task_kind}), gains in {first.unit}, {streams} stream", style="bold"))
        places = decimals(min((cell.se for cell in own if cell.se), default=None))
        out.show(table([_row(cell, places, own, claims) for cell in own], COLUMNS, out.console.width))
        for cell in list({cell.stream: cell for cell in own if cell.stream != first.stream}.values()):
            stock = plain_number(cell.stock_gain, places)
            out.show(Text(f"{MARK} on the {cell.stream} stream, where stock gained {stock}", style="dim"))
        if any(cell.like_id for cell in own):
            out.show(Text("a = b: a behaves like b on this task and was not run; it shares b's figures", style="dim"))


def _row(cell: Cell, places: int, others: Sequence[Cell], claims: Mapping[str, float | None] | None) -> Row:
    tested = claims.get(cell.task) if claims is not None and cell.role == "champion" else None
    p = tested if claims is not None else cell.p_adjusted
    marked = MARK if cell.stream != others[0].stream else ""
    return {
        "program": f"{name_of(cell)}{like(cell, others)}{marked}", "gain": plain_number(cell.gain, places),
        "95%": plain_span(cell.low, cell.high, places), "ratio": plain_number(cell.ratio, 2),
        "lower": plain_number(cell.ratio_lower, 2), "p": _chance(p), "n": str(cell.n),
    }  # fmt: skip


def _chance(p: float | None) -> str:
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def name_of(cell: Cell) -> str:
    """The program as a table names it, its role where that is no plain entry."""
    names = {"control": "{} (control)", "a/a": "{} again (A/A)", "champion": "champion {}"}
    return names.get(cell.role, "{}").format(cell.name)


def like(cell: Cell, others: Sequence[Cell]) -> str:
    """Says whose figures these are where the program behaves like that one on the task, and was not run."""
    if cell.like_id is None:
        return ""
    name = next((c.name for c in others if c.program_id == cell.like_id), cell.like_id)
    return f" = {name}"


def of_all_ranks(correlations: Sequence[RankCorrelation]) -> list[str]:
    """A line about each pair of tasks that can be told, and one about the others."""
    silent = [told for told in correlations if told.estimate is None]
    lines = [of_ranks(told) for told in correlations if told.estimate is not None]
    if len(silent) > 1:
        return [*lines, f"ranks on {many(len(silent), 'other pair')} of tasks cannot be told: {silent[0].why}"]
    return [*lines, *map(of_ranks, silent)]


def of_ranks(told: RankCorrelation) -> str:
    """One line about a pair of tasks."""
    pair = f"ranks on {told.task} and {told.other}, {many(told.n, 'program')}"
    if told.estimate is None:
        return f"{pair}: cannot be told, {told.why}"
    return (
        f"{pair}: correlation {told.estimate:.2f} [{told.low:.2f}, {told.high:.2f}]; of the means as measured "
        f"{told.observed:.2f}, of whose spread {told.reliability:.0%} and {told.reliability_other:.0%} is no noise"
    )


def aa_lines(cells: Sequence[Cell]) -> list[str]:
    """How far two arms of stock came out apart on each task, in stock's mean gain."""
    found = []
    for cell in cells:
        if cell.role == "a/a" and cell.ratio is not None:
            found.append(f"A/A on {cell.task}: stock again came to {cell.ratio:.2f} times stock")
    return found


def show_across(out: Output, moved: Sequence[Across], tasks: Sequence[str]) -> None:
    """What is told apart, a table a method and class; the rest is counted."""
    from rich.text import Text

    for method in dict.fromkeys(row.method for row in moved):
        own = [row for row in moved if row.method == method]
        for words in dict.fromkeys(row.words for row in own if row.outcome in CLEAR):
            rows = [row for row in own if row.words == words and row.outcome in CLEAR]
            if out.mode == "person":
                out.show(Text(f"{TITLES[method]}: {words} ({rows[0].design}), × stock's mean gain", style="bold"))
                short = len(tasks) > SIDE_BY_SIDE
                columns = (Column("what", flex=True), *(Column(task, right=True) for task in tasks))
                out.show(table([_told(row, short) for row in rows[:MOST]], columns, out.console.width))
            left = f"; the first {MOST} are shown, --json has all" if len(rows) > MOST and out.mode == "person" else ""
            if left or out.mode == "plain":
                out.note(f"{TITLES[method]}: {words}: {len(rows)}{left}")
        if out.mode == "person" and len(tasks) > SIDE_BY_SIDE and any(row.outcome in CLEAR for row in own):
            out.show(Text(STARS, style="dim"))
        open_ = sum(row.outcome == "open" for row in own)
        absent = sum(row.outcome == "absent" for row in own)
        out.note(f"{TITLES[method]}: {open_} not told apart, {absent} not there on the other side, of {len(own)}")


SIDE_BY_SIDE = 2  # tasks whose intervals fit into a line; of more, a star says that the interval leaves out 0
SHORT = {"absent": "–", "own": "own", "untried": "·"}
STARS = "* its interval leaves out 0 · not tried – not there; own: there from the start"
TITLES = {
    "edit": "edits, per try", "tries": "directives, per try that cites them", "having": "directives, had or not",
    "factorial": "directives, by planned ablation", "without-ideas": "idea lists, had or not",
}  # fmt: skip


def _told(row: Across, short: bool = False) -> Row:
    from analysis.transfer_credit import STATES

    cells = {}
    for there in row.there:
        if there.estimate is None:
            cells[there.task] = STATES[there.state] if not short else SHORT.get(there.state, "")
        elif there.scaled is None:
            cells[there.task] = f"{there.estimate:+.3g} {there.unit}"
        elif short:
            clear = (there.scaled_low or 0.0) > 0 or (there.scaled_high or 0.0) < 0
            cells[there.task] = f"{there.scaled:+.2f}{'*' if clear else ' '}"
        else:
            ends = plain_span(there.scaled_low, there.scaled_high, 2)
            cells[there.task] = f"{there.scaled:+.2f} ({ends})"
    return {"what": " ".join(row.label.split()), **cells}


@dataclass(frozen=True)
class Champion:
    """How a champion, itself without its ideas, and stock fare on each task of a study; empty where there is one task.

    ``claims``: the p of the tests that the study announced, by task: of the claim at home, and on reserved tasks as
    corrected among each other by Holm. ``unrun``: reserved tasks on which it behaves like stock. ``together``: what
    the one test over several home tasks says, and the mean ``over`` several reserved ones.
    """

    cells: tuple[Cell, ...] = ()
    claims: Mapping[str, float | None] = field(default_factory=dict)
    unrun: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    over: OverReserved | None = None

    @classmethod
    def of(cls, folder: Path, champion: Row) -> Champion:
        """As the ledger has it; ``champion``: its event."""
        from analysis.over_reserved import over_reserved
        from analysis.transfer import transfer

        reserve = champion.get("reserve") or ()
        if not reserve and not champion.get("tasks"):  # one task: no need to open the ledger once more
            return cls()
        with resolve.connect(folder, []) as con:
            found = transfer(con)
            over = over_reserved(con, {str(there["task"]): there["claim"] is not None for there in reserve})
        unrun = tuple(str(there["task"]) for there in reserve if there["claim"] is None)
        several = bool(champion.get("tasks"))  # home tasks: the one test is of the mean over them
        claims = {} if several else {task: champion.get("p") for task in found.tasks.training[:1]}
        claims |= {str(there["task"]): there["p_adjusted"] for there in reserve}
        together = ([over_homes(champion)] if several else []) + ([over_the_reserved(over)] if over else [])
        return cls(tuple(found.of(str(champion.get("program_id")))), claims, unrun, tuple(together), over)

    @property
    def json(self) -> Row:
        if not self.cells and not self.unrun:
            return {}
        rows = [{**asdict(cell), "p_announced": self.announced(cell)} for cell in self.cells]
        over = {"over_reserved": asdict(self.over)} if self.over else {}
        return {"transfer": rows, "behaves_like_stock_on": list(self.unrun), **over}

    @property
    def plain(self) -> dict[str, str]:
        """A line a task: the champion's ratio to stock."""
        own = [cell for cell in self.cells if cell.role == "champion"]
        told = {f"ratio to stock on {cell.task}": times(cell.ratio, cell.ratio_lower) for cell in own}
        told |= {f"ratio to stock on {task}": "behaves like stock there" for task in self.unrun}
        if self.over:
            told["ratio to stock over reserved tasks"] = times(self.over.champion.ratio, self.over.champion.lower)
        return told

    def announced(self, cell: Cell) -> float | None:
        return self.claims.get(cell.task) if cell.role == "champion" else None

    def show(self, out: Output) -> None:
        if self.cells:
            show_cells(out, self.cells, self.claims)
        for line in self.together:
            out.note(line)
        for task in self.unrun:
            out.note(f"on {task} the champion behaves like stock: it was not run there")


def times(ratio: float | None, lower: float | None) -> str:
    return f"{plain_number(ratio, 2)}, {at_least(lower)}"


def over_the_reserved(over: OverReserved) -> str:
    """The mean over several reserved tasks, an estimate beside the tests on each."""
    bare = f"; without its ideas {times(over.bare.ratio, over.bare.lower)}" if over.bare else ""
    champion = times(over.champion.ratio, over.champion.lower)
    return f"over the {over.tasks} reserved tasks, × stock: {champion}{bare}"


def over_homes(champion: Row) -> str:
    """The mean over several home tasks, of which the one announced test is."""
    names = ", ".join(str(on["task"]) for on in champion["tasks"])
    told = [f"{plain_number(champion['ratio']['ratio'], 2)} × stock, {at_least(champion['ratio']['lower'])}"]
    bare = champion.get("ratio_without_ideas")
    told += [f"without its ideas {times(bare['ratio'], bare['lower'])}"] if bare else []
    return f"over the home tasks ({names}): {'; '.join(told)}; p = {champion['p']:.2g}"
