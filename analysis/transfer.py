"""Does a program that wins at home win elsewhere? Programs × tasks of a study with runs on more than one task.

A cell is one program on one task: its verified gain over runs of one stream, and its ratio to what stock gained on that
task and stream. Home tasks are those that a study was begun on; elsewhere are its further or its reserved tasks.
Where a program ran in a match that only tells (streams `confirmation` and `reserve`), that alone counts: the runs that
chose it flatter it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from analysis.rank_correlation import Measured, RankCorrelation, correlation
from analysis.scope import tasks
from analysis.statistics import (
    Ratio,
    holm,
    mean_interval,
    one_sided,
    posterior,
    ratio,
    shared_error,
    skewed_difference,
)
from analysis.tables import rows, statement
from analysis.trust import weakest
from programs.shelf import starter

if TYPE_CHECKING:
    import duckdb

FINAL = ("confirmation", "reserve")  # streams of matches that only tell
TWIN, BARE = "a/a", "without-ideas"  # roles
ORDER = ("champion", "program", BARE, "control", "one-line", TWIN)  # of rows that are shown together
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A row of the view `transfer`: one program on one task. Gains are in the task's unit, positive is better."""

    task: str
    place: str  # home or elsewhere
    program_id: str
    name: str
    role: str  # champion, program, without-ideas, control (stock), a/a, one-line
    of_program: str | None  # of a program without its ideas: the one that has them
    stream: str
    n: int
    gain: float | None
    se: float | None
    low: float | None  # two-sided 95% t interval
    high: float | None
    unit: str
    stock_gain: float | None  # mean of stock on this task and stream
    ratio: float | None  # to stock's mean gain
    ratio_lower: float | None  # one-sided 95%, Fieller; None where the data allow any ratio
    p: float | None  # one-sided test of "no better than stock", as a study announces it
    p_adjusted: float | None  # Holm over the rows of the view of the same stream
    like_id: str | None  # behaves like that program here: was not run, shares its figures
    trust: str | None

    @property
    def kept(self) -> str:
        """The place as people are told: ``reserved`` where evolution was kept from the task."""
        return "reserved" if self.stream == "reserve" and self.place != "home" else self.place


@dataclass(frozen=True)
class Places:
    """Names of a study's tasks: where programs are at home, and elsewhere."""

    home: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.home + self.elsewhere

    @property
    def one_side(self) -> tuple[str, ...]:
        """The tasks that are set against the others: home; where there is nothing else, the first."""
        return self.home if self.elsewhere else self.home[:1]


def places(con: duckdb.DuckDBPyConnection) -> Places:
    """Which of the tasks that were run on are home: of an evolution all but its reserved ones; of other studies
    (``metaloop transfer``, a contest) the first one."""
    played = tasks(con)
    config = next((c for (c,) in con.execute("SELECT config FROM studies").fetchall() if c), "{}")
    told = json.loads(config) if isinstance(config, str) else dict(config)
    names = dict(con.execute("SELECT DISTINCT task_id, task FROM matches WHERE task_id IS NOT NULL").fetchall())
    first = [names[i] for i in [told.get("task_id")] if i in names and names[i] in played] or played[:1]
    away = [names[each["task_id"]] for each in told.get("reserve") or () if each.get("task_id") in names]
    evolved = told.get("command") in ("evolve", "improve") or away
    home = [*first, *(task for task in played if task not in [*first, *away])] if evolved else first
    return Places(tuple(home), tuple(task for task in played if task not in home))


def transfer_cells(con: duckdb.DuckDBPyConnection) -> list[Cell]:
    """The rows of the view: by task, home first, best first within one. Empty where all runs are on one task."""
    where = places(con)
    if len(where.all) < 2:
        return []
    runs = transfer_runs(con)
    variants = {row["program_id"]: row["of_program"] for row in rows(con.execute(statement("transfer_variants")))}
    shared = rows(con.execute(statement("transfer_shared")))
    found: list[Cell] = []
    for task in where.all:
        place = "home" if task in where.home else "elsewhere"
        on_task = [run for run in runs if run["task"] == task]
        cells = _cells_on(con, task, place, on_task, variants)
        cells += _like(cells, [row for row in shared if row["task"] == task], con, variants)
        found += sorted(cells, key=lambda c: (c.gain is None, -(c.gain or 0.0), c.program_id, c.role))
    return _adjusted(found)


def _cells_on(
    con: duckdb.DuckDBPyConnection, task: str, place: str, runs: Sequence[Run], variants: Mapping[str, str]
) -> list[Cell]:
    """One cell per program and twin: of the streams that it ran on, the one that only tells."""
    streams: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        streams[run["stream"]].append(run)
    made: dict[tuple[str, bool], Cell] = {}
    for stream in sorted(streams, key=lambda name: name in FINAL):  # what only tells overwrites what chose
        groups: dict[tuple[str, bool], list[Run]] = defaultdict(list)
        for run in streams[stream]:
            groups[run["program_id"], run["role"] == TWIN].append(run)
        stock = stock_of(streams[stream])
        alone = groups.get((stock, False)) or groups.get((stock, True)) or []
        both = [*groups.get((stock, False), ()), *groups.get((stock, True), ())]  # one program: one sample
        baseline = baseline_of(con, task, stream)
        for key, own in groups.items():
            made[key] = _cell(own, alone if key == (stock, True) else both, baseline, task, place, stock, variants)
    return list(made.values())


def stock_of(runs: Sequence[Run]) -> str:
    """The id of the stock program among these runs: the one that plays twice, else the control of that name, else the
    only control, else the library's."""
    twins = {run["program_id"] for run in runs if run["role"] == TWIN}
    controls = {run["program_id"]: run["name"] for run in runs if run["role"] == "control"}
    named = [program for program, name in controls.items() if name == "stock"]
    for candidates in (twins, named, controls):
        if len(candidates) == 1:
            return str(next(iter(candidates)))
    return starter("stock").program_id


def baseline_of(con: duckdb.DuckDBPyConnection, task: str, stream: str) -> list[float]:
    """Metrics of the untouched source that the gains were taken against, a value a seed."""
    sql = """SELECT any_value(metric) FROM baselines WHERE task = ? AND stream = ? AND status = 'ok'
        AND metric IS NOT NULL GROUP BY seed ORDER BY seed"""
    return [float(value) for (value,) in con.execute(sql, [task, stream]).fetchall()]


def _cell(
    own: Sequence[Run], stock: Sequence[Run], baseline: Sequence[float], task: str, place: str, stock_id: str,
    variants: Mapping[str, str],
) -> Cell:  # fmt: skip
    gains, theirs = [run["gain"] for run in own], [run["gain"] for run in stock]
    touched = touched_share(own), touched_share(stock)
    first, mean = own[0], mean_interval(gains)
    is_stock = first["program_id"] == stock_id and first["role"] != TWIN
    over = Ratio(1.0, None, 0.95, len(gains), len(gains)) if is_stock else ratio(
        gains, theirs, baseline=baseline, touched=touched
    )  # fmt: skip
    roles = {run["role"] for run in own}
    role = "control" if is_stock else next((role for role in ORDER if role in roles), str(first["role"]))
    return Cell(
        task=task, place=place, program_id=first["program_id"], name=first["name"], role=role,
        of_program=variants.get(first["program_id"]), stream=first["stream"], n=mean.n, gain=mean.mean, se=mean.se,
        low=mean.low, high=mean.high, unit=str(first["unit"] or "metric"),
        stock_gain=mean_interval(theirs).mean, ratio=over.ratio, ratio_lower=over.lower,
        p=None if is_stock or first["role"] == TWIN else better(gains, theirs, baseline, touched),
        p_adjusted=None, like_id=None, trust=weakest(run["trust"] for run in own),
    )  # fmt: skip


def touched_share(runs: Sequence[Run]) -> float:
    """Mean share of the runs' verifications that were held against the baseline."""
    return math.fsum(run["touched"] for run in runs) / len(runs) if runs else 0.0


def better(
    gains: Sequence[float], stock: Sequence[float], baseline: Sequence[float], touched: tuple[float, float]
) -> float | None:
    """One-sided p of "no better than stock"; None where a side has fewer than two runs."""
    apart = skewed_difference(gains, stock, shared_error(baseline, *touched))
    return None if apart.se is None else one_sided(apart)


def _like(
    cells: Sequence[Cell], shared: Sequence[Run], con: duckdb.DuckDBPyConnection, variants: Mapping[str, str]
) -> list[Cell]:
    """Cells of programs that were not run because they behave like another one here."""
    names: dict[str, str] = dict(con.execute("SELECT program_id, name FROM programs").fetchall()) if shared else {}
    known = {(cell.program_id, cell.stream): cell for cell in cells if cell.role != TWIN}
    ran = {cell.program_id for cell in cells}
    found = []
    for row in shared:
        source = known.get((row["like_id"], row["stream"]))
        if source is not None and row["program_id"] not in ran:
            who, of_program = row["program_id"], variants.get(row["program_id"])
            role = BARE if of_program else "program"
            p = None if source.role == "control" else source.p
            found.append(replace(source, program_id=who, name=names.get(who) or str(who), role=role,
                                 of_program=of_program, p=p, like_id=row["like_id"]))  # fmt: skip
    return found


def _adjusted(cells: Sequence[Cell]) -> list[Cell]:
    """Holm over what was tested, each figure once: selection apart from the matches that only tell."""
    told: dict[int, float] = {}
    for final in (False, True):
        tested = [i for i, c in enumerate(cells) if c.p is not None and not c.like_id and (c.stream in FINAL) == final]
        told |= dict(zip(tested, holm([cells[i].p or 0.0 for i in tested]), strict=True))
    own = {(cells[i].task, cells[i].program_id): p for i, p in told.items()}
    return [
        replace(cell, p_adjusted=told.get(i, own.get((cell.task, cell.like_id or "")))) for i, cell in enumerate(cells)
    ]


# -- all of it together --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transfer:
    """What a study tells of transfer; ``cells`` is empty where all its runs are on one task."""

    places: Places
    cells: tuple[Cell, ...]
    correlations: tuple[RankCorrelation, ...]

    def of(self, program_id: str) -> list[Cell]:
        """The cells of a program, of itself without its ideas, and of stock, task by task."""
        mine = {program_id, *(c.program_id for c in self.cells if c.of_program == program_id)}
        kept = [c for c in self.cells if c.role != TWIN and (c.program_id in mine or c.role == "control")]
        return sorted(kept, key=lambda c: (self.places.all.index(c.task), ORDER.index(c.role)))


def transfer(con: duckdb.DuckDBPyConnection) -> Transfer:
    """Cells and rank correlations of an open study; nothing is read from the computed views."""
    cells = transfer_cells(con)
    return Transfer(places(con), tuple(cells), tuple(correlations(transfer_runs(con), cells)))


def transfer_runs(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The runs that count: rows of ``queries/transfer_runs.sql``."""
    return rows(con.execute(statement("transfer_runs")))


def correlations(runs: Sequence[Run], cells: Sequence[Cell]) -> list[RankCorrelation]:
    """Of each pair of tasks, home first: over the programs with figures on both, stock among them, twins and programs
    without their ideas left out. On each task of the stream on which most programs ran: all met the same data there."""
    found = []
    measured = {task: _measured(runs, cells, task) for task in dict.fromkeys(cell.task for cell in cells)}
    for one, other in combinations(measured, 2):
        both = [program for program in measured[one] if program in measured[other]]
        found.append(correlation(one, other, [(measured[one][p], measured[other][p]) for p in both]))
    return found


def _measured(runs: Sequence[Run], cells: Sequence[Cell], task: str) -> dict[str, Measured]:
    """Means with standard errors that borrow from the spread of all programs' runs: one of few runs is a bad guess."""
    streams: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["task"] == task and run["role"] not in (TWIN, BARE):
            streams[run["stream"]][run["program_id"]].append(run["gain"])
    stream = max(streams, key=lambda name: (len(streams[name]), name not in FINAL))
    means = {program: mean_interval(gains) for program, gains in streams[stream].items()}
    scored = posterior([m.mean or 0.0 for m in means.values()], [m.se for m in means.values()],
                       [m.n for m in means.values()])  # fmt: skip
    found = {who: Measured(score.mean, score.se, who) for who, score in zip(means, scored, strict=True)}
    for cell in cells:
        if cell.task == task and cell.stream == stream and cell.like_id in found and cell.role != BARE:
            found.setdefault(cell.program_id, found[cell.like_id])
    return found
