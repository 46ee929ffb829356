"""Does a program that wins on its training tasks win on other tasks? Programs × tasks of a study on several tasks.

A cell is one program on one task: its verified gain over the runs of one stream, and its ratio to stock's gain on the
same task and stream. Training tasks (`home` in the view) chose the programs; other tasks (`elsewhere`) did not. If a
program ran in a confirmation (streams `confirmation` and `reserve`), only those runs count: the runs that selected a
program overestimate it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.scope import tasks
from analysis.statistics import (
    Ratio,
    holm,
    mean_interval,
    mean_together,
    one_sided,
    ratio,
    ratio_interval,
    shared_error,
    skewed_difference,
    t_test,
)
from analysis.tables import statement, typed_rows
from analysis.trust import weakest
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

FINAL = ("confirmation", "reserve")  # streams of matches that select nothing
TWIN, BARE, BOTH = "a/a", "without-ideas", "both arms"  # roles
ORDER = ("champion", "program", BARE, "control", "one-line", TWIN, BOTH)  # of the rows in a table


@dataclass(frozen=True)
class TransferRun:
    """A verified run. ``touched``: the share of its verifications that were compared with the baseline."""

    task: str
    program_id: str
    role: str
    stream: str
    match_id: str
    run_seed: int
    gain: float
    trust: str | None
    name: str
    unit: str | None
    touched: float


@dataclass(frozen=True)
class SharedFigures:
    """A program that behaves like another one on a task, and was not run there."""

    task: str
    stream: str
    program_id: str
    like_id: str


@dataclass(frozen=True)
class Cell:
    """A row of the view `transfer`: one program on one task. Gains are in the task's unit, positive is better."""

    task: str
    place: str  # home, new (a confirming task of a study over families) or elsewhere
    program_id: str
    name: str
    role: str  # champion, program, without-ideas, control (stock), a/a, one-line
    of_program: str | None  # of a program without its ideas: the program with them
    stream: str
    n: int
    gain: float | None
    se: float | None
    low: float | None  # two-sided 95% t interval
    high: float | None
    unit: str
    stock_gain: float | None  # mean of stock on this task and stream
    ratio: float | None  # to stock's mean gain
    ratio_lower: float | None  # one-sided 95%, Fieller; None if the data allow any ratio
    p: float | None  # one-sided test of "no better than stock", as a study announces it
    p_adjusted: float | None  # Holm over the rows of the view of the same stream
    like_id: str | None  # behaves like that program on this task: was not run, shares its figures
    trust: str | None

    @property
    def task_kind(self) -> str:
        """``training task``, ``new task`` (of a family that the search used), ``held-out task`` (reserved during the
        evolution) or ``other task``."""
        if self.place == "home":
            return "training task"
        if self.place == "new":
            return "new task"
        return "held-out task" if self.stream == "reserve" else "other task"


@dataclass(frozen=True)
class StudyTasks:
    """Names of a study's tasks: those that chose its programs, and the others."""

    training: tuple[str, ...]
    other: tuple[str, ...]
    new: tuple[str, ...] = ()  # those of the others on which a study over families is confirmed

    @property
    def all(self) -> tuple[str, ...]:
        return self.training + self.other

    @property
    def one_side(self) -> tuple[str, ...]:
        """The tasks to compare with the rest: the training tasks, or the first of them if there are no others."""
        return self.training if self.other else self.training[:1]


def study_tasks(con: duckdb.DuckDBPyConnection) -> StudyTasks:
    """The tasks with runs. Training tasks: in an evolution all but the held-out ones; in other studies (``metaloop
    transfer``, a contest) the first one."""
    played = tasks(con)
    config = next((c for (c,) in con.execute("SELECT config FROM studies").fetchall() if c), "{}")
    settings = json.loads(config) if isinstance(config, str) else dict(config)
    names = dict(con.execute("SELECT DISTINCT task_id, task FROM matches WHERE task_id IS NOT NULL").fetchall())
    first = [names[i] for i in [settings.get("task_id")] if i in names and names[i] in played] or played[:1]
    after = max((each["stage"] for each in settings.get("fresh") or ()), default=0)  # the confirmation of a family
    confirming = [each for each in settings.get("fresh") or () if each["stage"] == after]
    new = [names[each["task_id"]] for each in confirming if each["task_id"] in names]
    unused = settings.get("reserve") or ()
    reserved = [*new, *(names[each["task_id"]] for each in unused if each.get("task_id") in names)]
    evolved = settings.get("command") in ("evolve", "improve") or reserved
    training = [*first, *(task for task in played if task not in [*first, *reserved])] if evolved else first
    return StudyTasks(tuple(training), tuple(task for task in played if task not in training), tuple(new))


def transfer_cells(con: duckdb.DuckDBPyConnection) -> list[Cell]:
    """The rows of the view, by task, training tasks first, best first. Empty if all runs are on one task."""
    names = study_tasks(con)
    if len(names.all) < 2:
        return []
    runs = transfer_runs(con)
    variants: dict[str, str] = dict(con.execute(statement("transfer_variants")).fetchall())
    shared = typed_rows(con.execute(statement("transfer_shared")), SharedFigures)
    made: list[Cell] = []
    for task in names.all:
        side = "home" if task in names.training else "new" if task in names.new else "elsewhere"
        on_task = [run for run in runs if run.task == task]
        cells = _cells_on(con, task, side, on_task, variants)
        cells += _like(cells, [row for row in shared if row.task == task], con, variants)
        made += sorted(cells, key=lambda c: (c.gain is None, -(c.gain or 0.0), c.program_id, c.role))
    return _adjusted(made)


def _cells_on(
    con: duckdb.DuckDBPyConnection, task: str, side: str, runs: Sequence[TransferRun], variants: Mapping[str, str]
) -> list[Cell]:
    """One cell per program and A/A twin: from its final stream if it has one, else from the other."""
    streams: dict[str, list[TransferRun]] = defaultdict(list)
    for run in runs:
        streams[run.stream].append(run)
    made: dict[tuple[str, bool], Cell] = {}
    for stream in sorted(streams, key=lambda name: name in FINAL):  # a final stream overwrites the stream that selected
        groups: dict[tuple[str, bool], list[TransferRun]] = defaultdict(list)
        for run in streams[stream]:
            groups[run.program_id, run.role == TWIN].append(run)
        stock = stock_of(streams[stream])
        alone = groups.get((stock, False)) or groups.get((stock, True)) or []
        both = [*groups.get((stock, False), ()), *groups.get((stock, True), ())]  # one program: one sample
        baseline = baseline_of(con, task, stream)
        for key, own in groups.items():
            made[key] = _cell(own, alone if key == (stock, True) else both, baseline, task, side, stock, variants)
    return list(made.values())


Limits = tuple[float | None, float | None]


def ratio_limits(con: duckdb.DuckDBPyConnection, cells: Sequence[Cell]) -> dict[tuple[str, str], Limits]:
    """By task and program the two-sided 95% interval of the ratio to stock's gain; the view has its one-sided bound."""
    runs, limits = transfer_runs(con), dict[tuple[str, str], Limits]()
    for task, stream in dict.fromkeys((cell.task, cell.stream) for cell in cells):
        here = [run for run in runs if (run.task, run.stream) == (task, stream)]
        stock = [run for run in here if run.program_id == stock_of(here)]
        baseline = baseline_of(con, task, stream)
        for cell in (cell for cell in cells if (cell.task, cell.stream) == (task, stream)):
            own = [run for run in here if run.program_id == (cell.like_id or cell.program_id)]
            gains = [run.gain for run in own], [run.gain for run in stock]
            touched = touched_share(own), touched_share(stock)
            limits[task, cell.program_id] = ratio_interval(*gains, baseline, touched)
    return limits


def stock_of(runs: Iterable[TransferRun]) -> str:
    """The id of the stock program among these runs: the program with an A/A twin, else the control named stock, else
    the only control, else the library's."""
    runs = list(runs)
    twins = {run.program_id for run in runs if run.role == TWIN}
    controls = {run.program_id: run.name for run in runs if run.role == "control"}
    named = [program for program, name in controls.items() if name == "stock"]
    for candidates in (twins, named, controls):
        if len(candidates) == 1:
            return next(iter(candidates))
    return starter("stock").program_id


def baseline_of(con: duckdb.DuckDBPyConnection, task: str, stream: str) -> list[float]:
    """The metrics of the untouched source, one per seed: the baseline of the gains."""
    sql = """SELECT any_value(metric) FROM baselines WHERE task = ? AND stream = ? AND status = 'ok'
        AND metric IS NOT NULL GROUP BY seed ORDER BY seed"""
    return [float(value) for (value,) in con.execute(sql, [task, stream]).fetchall()]


def _cell(
    own: Sequence[TransferRun],
    stock: Sequence[TransferRun],
    baseline: Sequence[float],
    task: str,
    side: str,
    stock_id: str,
    variants: Mapping[str, str],
) -> Cell:
    gains, theirs = [run.gain for run in own], [run.gain for run in stock]
    touched = touched_share(own), touched_share(stock)
    first, mean = own[0], mean_interval(gains)
    is_stock = first.program_id == stock_id and first.role != TWIN
    over = (
        Ratio(1.0, None, 0.95, len(gains), len(gains))
        if is_stock
        else ratio(gains, theirs, baseline=baseline, touched=touched)
    )
    roles = {run.role for run in own}
    role = "control" if is_stock else next((role for role in ORDER if role in roles), first.role)
    return Cell(
        task=task, place=side, program_id=first.program_id, name=first.name, role=role,
        of_program=variants.get(first.program_id), stream=first.stream, n=mean.n, gain=mean.mean, se=mean.se,
        low=mean.low, high=mean.high, unit=first.unit or "metric",
        stock_gain=mean_interval(theirs).mean, ratio=over.ratio, ratio_lower=over.lower,
        p=None if is_stock or first.role == TWIN else better(gains, theirs, baseline, touched),
        p_adjusted=None, like_id=None, trust=weakest(run.trust for run in own),
    )  # fmt: skip


def touched_share(runs: Sequence[TransferRun]) -> float:
    """Mean share of the runs' verifications that were compared with the baseline."""
    return math.fsum(run.touched for run in runs) / len(runs) if runs else 0.0


def better(
    gains: Sequence[float], stock: Sequence[float], baseline: Sequence[float], touched: tuple[float, float]
) -> float | None:
    """One-sided p of "no better than stock"; None if a side has fewer than two runs."""
    difference = skewed_difference(gains, stock, shared_error(baseline, *touched))
    return None if difference.se is None else one_sided(difference)


def _like(
    cells: Sequence[Cell], shared: Sequence[SharedFigures], con: duckdb.DuckDBPyConnection, variants: Mapping[str, str]
) -> list[Cell]:
    """Cells of programs that were not run because they behave like another one on this task."""
    names: dict[str, str] = dict(con.execute("SELECT program_id, name FROM programs").fetchall()) if shared else {}
    known = {(cell.program_id, cell.stream): cell for cell in cells if cell.role != TWIN}
    ran = {cell.program_id for cell in cells}
    made = []
    for row in shared:
        source = known.get((row.like_id, row.stream))
        if source is not None and row.program_id not in ran:
            who, of_program = row.program_id, variants.get(row.program_id)
            role = BARE if of_program else "program"
            p = None if source.role == "control" else source.p
            made.append(
                replace(
                    source,
                    program_id=who,
                    name=names.get(who) or who,
                    role=role,
                    of_program=of_program,
                    p=p,
                    like_id=row.like_id,
                )
            )
    return made


def _adjusted(cells: Sequence[Cell]) -> list[Cell]:
    """Holm over the tested cells, each figure once; final streams form a family of their own."""
    adjusted: dict[int, float] = {}
    for final in (False, True):
        tested = [i for i, c in enumerate(cells) if c.p is not None and not c.like_id and (c.stream in FINAL) == final]
        adjusted |= dict(zip(tested, holm([cells[i].p or 0.0 for i in tested]), strict=True))
    own = {(cells[i].task, cells[i].program_id): p for i, p in adjusted.items()}
    return [
        replace(cell, p_adjusted=adjusted.get(i, own.get((cell.task, cell.like_id or ""))))
        for i, cell in enumerate(cells)
    ]


# -- the whole study --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transfer:
    """The transfer results of a study; ``cells`` is empty if all its runs are on one task."""

    tasks: StudyTasks
    cells: tuple[Cell, ...]

    def of(self, program_id: str) -> list[Cell]:
        """The cells of a program, of the same program without its ideas, and of stock's arms, task by task."""
        mine = {program_id, *(c.program_id for c in self.cells if c.of_program == program_id)}
        cells = [c for c in self.cells if c.program_id in mine or c.role in ("control", TWIN)]
        return sorted(cells, key=lambda c: (self.tasks.all.index(c.task), ORDER.index(c.role)))


def both_arms(cells: Sequence[Cell]) -> list[Cell]:
    """A row for stock's two arms together, whose mean divides the ratios, for each table of these cells that has two:
    it is no row of the view."""
    out = []
    for twin in (cell for cell in cells if cell.role == TWIN):
        same = [c for c in cells if (c.task, c.stream, c.program_id) == (twin.task, twin.stream, twin.program_id)]
        if len(same) > 1:
            mean = mean_together((cell.gain, cell.se, cell.n) for cell in same)
            figures = replace(twin, n=mean.n, gain=mean.mean, se=mean.se, low=mean.low, high=mean.high)
            out.append(replace(figures, role=BOTH, ratio=1.0, ratio_lower=None, p=None, p_adjusted=None))
    return out


def divisor(cells: Sequence[Cell]) -> Cell | None:
    """Stock's row among the cells of a task and stream (both arms together), if gains may be divided by its gain: a
    ratio to a mean that is not significantly above 0 (one-sided 5%, as its lower bound needs) says nothing."""
    stock = both_arms(cells) or [cell for cell in cells if cell.role == "control"]
    return next((cell for cell in stock if (cell.gain or 0.0) > 0.0 and _p(cell) < 0.10), None)


def _p(cell: Cell) -> float:
    return 1.0 if (p := t_test(cell.gain or 0.0, cell.se, cell.n - 1)) is None else p


def transfer(con: duckdb.DuckDBPyConnection) -> Transfer:
    """The cells of an open study; it reads no computed views."""
    return Transfer(study_tasks(con), tuple(transfer_cells(con)))


def transfer_runs(con: duckdb.DuckDBPyConnection) -> list[TransferRun]:
    """The runs to use."""
    return typed_rows(con.execute(statement("transfer_runs")), TransferRun)
