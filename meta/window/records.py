"""What the pages show of one study beyond its ledger's course: records by the views of DuckDB."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.effects.attribution import searched
from analysis.effects.mutation import mutation_credits
from analysis.ledger import segments
from analysis.statistics import Mean, mean_interval
from analysis.study import COMPUTED_VIEWS, open_study
from analysis.tables import SQL_VIEWS, rows, statement, typed_rows
from arena.contest.stored import CourseContent, ExperimentColumns
from arena.contest.web.curve import Curve, curve
from programs.errors import NotFound, UsageError
from programs.program import Program

if TYPE_CHECKING:
    import duckdb

    from analysis.effects.rows import MutationCredit

Row = dict[str, Any]
MOST_EXPERIMENTS = 200  # on one page
MOST_ROWS, MOST_SECONDS = 1000, 20.0  # of a query
KEPT_OPEN = 4  # studies whose tables stay in memory
RUN = """
SELECT r.*, m.metric, m.unit, i.noise_sd
FROM runs AS r LEFT JOIN matches AS m USING (match_id) LEFT JOIN imports AS i ON i.run_id = r.run_id
WHERE r.run_id = ? LIMIT 1
"""
COURSE = """
SELECT number, coalesce(status, '') AS status, metric, coalesce(fraction, 1.0) AS fraction,
    coalesce(device_seconds_charged, 0.0) AS seconds, coalesce(decision, '') AS decision, '' AS reason,
    coalesce(description, '') AS description, directive_ids, '' AS diff, experiment_id, gain
FROM experiments WHERE run_id = ? ORDER BY number
"""
EXAMPLE = """SELECT name, purpose, count(*) AS runs, avg(verified_gain) AS gain
FROM runs
GROUP BY ALL
ORDER BY gain DESC"""  # in an empty box
CALLS = (
    "SELECT number, purpose, model, status, tokens_in, tokens_out, usd, wall_seconds, text, reason FROM calls WHERE "
)
CALLS += "run_id = ? ORDER BY number"
TURNS = "SELECT number, after, role, fate, title, reason FROM turns WHERE run_id = ? ORDER BY number"
EXPERIMENT = """
SELECT e.*, m.metric AS measure, m.unit, m.direction
FROM experiments AS e LEFT JOIN runs AS r USING (run_id) LEFT JOIN matches AS m ON m.match_id = r.match_id
WHERE e.experiment_id = ? LIMIT 1
"""
FINAL = "SELECT avg(metric) AS metric FROM verifications WHERE run_id = ? AND status = 'ok'"
NOISE = "SELECT sd, trainings FROM seed_noise() WHERE task = ? AND trainings > 2"
FINDINGS = "SELECT kind, text FROM findings WHERE run_id = ?"
ITS_RUNS = """
SELECT r.run_id, coalesce(r.purpose, '') AS purpose, r.role, r.task, r.state, r.verified_gain, r.claimed_gain, r.trust,
    m.label, m.generation
FROM runs AS r LEFT JOIN matches AS m USING (match_id)
WHERE r.program_id = ? ORDER BY r.started_at DESC, r.run_id LIMIT 100
"""
ITS_GAINS = """
SELECT CASE r.purpose WHEN 'reserve' THEN 'held-out task' WHEN 'confirmation' THEN r.purpose ELSE 'search' END AS part,
    r.task, coalesce(any_value(m.unit), '') AS unit, list(r.verified_gain ORDER BY r.run_id) AS gains
FROM runs AS r LEFT JOIN matches AS m USING (match_id)
WHERE r.program_id = ? AND r.state = 'finished' AND r.verified_gain IS NOT NULL
    AND r.purpose IS DISTINCT FROM 'ablation'
GROUP BY 1, 2 ORDER BY 1 DESC, 2
"""
MADE = "SELECT operator, model, reason FROM mutations WHERE child_id = ? AND accepted LIMIT 1"


class OpenStudies:
    """The tables of the studies that were looked at last; those of a study that goes on are made anew."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[Path, int, bool], duckdb.DuckDBPyConnection] = OrderedDict()
        self._lock = threading.Lock()

    def are_computed(self, folder: Path) -> bool:
        """Whether the views that take a while are there."""
        return self._key(folder, True) in self._open

    def _key(self, folder: Path, computed: bool) -> tuple[Path, int, bool]:
        return folder, sum(path.stat().st_size for path in segments(folder / "ledger")), computed

    @contextmanager
    def read(self, folder: Path, computed: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor over the views; with ``computed`` those that take a while as well."""
        key = self._key(folder, computed)
        with self._lock:
            if key not in self._open:
                for old in [known for known in self._open if known[0] == folder and known[2] == computed]:
                    del self._open[old]
                self._open[key] = open_study(folder, views=(*SQL_VIEWS, *(COMPUTED_VIEWS if computed else ())))
                self._open[key].execute("SET enable_external_access = false; SET lock_configuration = true")
                while len(self._open) > KEPT_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            con = self._open[key].cursor()
        with con:
            yield con


@dataclass(frozen=True)
class RunPage:
    """One run: its row, its curve, its experiments from ``start`` on, and what models and roles said."""

    run: Row
    drawn: Curve
    course: CourseContent
    experiments: Sequence[Row]
    start: int
    total: int
    calls: Sequence[Row]
    turns: Sequence[Row]
    findings: Sequence[Row]
    collapse: CollapsedRow | None  # None: it kept its gain
    trainings: int  # that its noise is from


@dataclass(frozen=True)
class CollapsedRow:
    """A run whose final script lost most of its claimed gain when it was trained again; ``sds``: by how many ``sd`` of
    the untouched script between training seeds."""

    run_id: str
    name: str
    claimed: float
    gain: float
    sds: float
    sd: float


def fetch(con: duckdb.DuckDBPyConnection, sql: str, *values: object) -> list[Row]:
    return rows(con.execute(sql, list(values)))


def run_page(con: duckdb.DuckDBPyConnection, run_id: str, start: int) -> RunPage:
    """Raises NotFound."""
    matching = fetch(con, RUN, run_id)
    if not matching:
        raise NotFound(f"there is no run {run_id!r} in this study", hint="the study's page lists them")
    run, experiments = matching[0], fetch(con, COURSE, run_id)
    noise = fetch(con, NOISE, run["task"])
    course: CourseContent = {
        "direction": str(run["direction"]),
        "metric": str(run["metric"] or "metric"),
        "unit": str(run["unit"] or ""),
        "gain": run["verified_gain"],
        "final": fetch(con, FINAL, run_id)[0]["metric"],
        "sd": noise[0]["sd"] if noise else run["noise_sd"],
        "experiments": cast("list[ExperimentColumns]", experiments),
        "left_out": 0,
    }
    if run["claimed_gain"] is None:  # it has not ended
        run["claimed_gain"] = next((row["gain"] for row in reversed(experiments) if row["decision"] == "keep"), None)
    shown = experiments[start : start + MOST_EXPERIMENTS]
    said, took = fetch(con, CALLS, run_id), fetch(con, TURNS, run_id)
    drawn = curve(course, going_on=run["state"] == "running")
    collapses = typed_rows(con.execute(statement("collapsed")), CollapsedRow)
    collapse = next((one for one in collapses if one.run_id == run_id), None)
    findings, trainings = fetch(con, FINDINGS, run_id), noise[0]["trainings"] if noise else 0
    return RunPage(run, drawn, course, shown, start, len(experiments), said, took, findings, collapse, trainings)


def experiment(con: duckdb.DuckDBPyConnection, identity: str) -> Row:
    """Raises NotFound."""
    matching = fetch(con, EXPERIMENT, identity)
    if not matching:
        raise NotFound(f"there is no experiment {identity!r} in this study", hint="its run lists them")
    return matching[0]


@dataclass(frozen=True)
class ProgramGain:
    """The mean gain of a program's runs in one part of the study (search, confirmation, held-out task) on one task."""

    part: str
    task: str
    unit: str
    mean: Mean


@dataclass(frozen=True)
class ProgramPage:
    """A program's text, how it was written, its lines that differ from those of each parent, its gains, how much more
    than its (better) parent it gained in the search, and its runs."""

    name: str
    program_id: str
    shown: str
    made: Row
    changes: Sequence[tuple[str, str, str]]  # name and id of a parent, unified diff
    gains: Sequence[ProgramGain]
    over_parent: Sequence[MutationCredit]
    runs: Sequence[Row]


def program_page(con: duckdb.DuckDBPyConnection, program_id: str) -> ProgramPage:
    """``program_id``: or the beginning of one, as the page prints it. Raises NotFound."""
    alike = fetch(con, "SELECT DISTINCT program_id FROM programs WHERE starts_with(program_id, ?)", program_id)
    program_id = str(alike[0]["program_id"]) if len(alike) == 1 else program_id

    def read(identity: str) -> tuple[str, str, list[str]] | None:
        matching = fetch(con, "SELECT name, text, parent_ids FROM programs WHERE program_id = ? LIMIT 1", identity)
        if not matching or not matching[0]["text"]:
            return None
        name = str(matching[0]["name"] or identity)
        return name, Program.parse(str(matching[0]["text"]), name).shown, list(matching[0]["parent_ids"] or [])

    own = read(program_id)
    if own is None:
        raise NotFound(f"there is no program {program_id!r} in this study", hint="the study's page lists them")
    name, text, parents = own
    changes = []
    for parent in parents:
        if above := read(parent):
            diff = unified_diff(above[1].splitlines(), text.splitlines(), above[0], name, lineterm="", n=2)
            changes.append((above[0], parent, "\n".join(diff)))
    made = fetch(con, MADE, program_id)
    gains = [
        ProgramGain(row["part"], row["task"], row["unit"], mean_interval(row["gains"]))
        for row in fetch(con, ITS_GAINS, program_id)
    ]
    children = [one for scope in searched(con, only=True) for one in mutation_credits(scope)] if parents else []
    over = [one for one in children if one.child_id == program_id]
    runs = fetch(con, ITS_RUNS, program_id)
    return ProgramPage(name, program_id, text, made[0] if made else {}, changes, gains, over, runs)


@dataclass(frozen=True)
class QueryAnswer:
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    seconds: float
    cut: bool  # whether there are more than MOST_ROWS


def ask(con: duckdb.DuckDBPyConnection, sql: str) -> QueryAnswer:
    """The first rows of a person's query. Raises UsageError with DuckDB's message, also after MOST_SECONDS."""
    import duckdb

    began, clock = time.monotonic(), threading.Timer(MOST_SECONDS, con.interrupt)
    clock.start()
    try:
        result = con.execute(sql)
        columns = [one[0] for one in result.description or ()]
        matching = result.fetchmany(MOST_ROWS + 1) if columns else []
    except duckdb.InterruptException:
        raise UsageError(f"stopped after {MOST_SECONDS:g} seconds", hint="metaloop sql has no limit") from None
    except (duckdb.Error, RuntimeError, UnicodeEncodeError) as error:
        raise UsageError(" ".join(str(error).split()), hint="SHOW TABLES; DESCRIBE runs") from None
    finally:
        clock.cancel()
    return QueryAnswer(columns, matching[:MOST_ROWS], time.monotonic() - began, len(matching) > MOST_ROWS)
