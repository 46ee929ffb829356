"""What an imported log showed about edits, by role, for a knowledge base (`metaloop learn`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from analysis.imports.cells import last_digit
from analysis.imports.changes import Changed, ImportedRow, RoleNames, readings
from analysis.knowledge import Effect, Subject, effects_of, subject_of
from analysis.tables import typed_rows
from programs.ids import content_id
from trainer.cards.sweep import EditTrial, role_values
from trainer.edits import Value
from trainer.outcome import Status
from trainer.task import Task
from trainer.values.metric_names import plain_name

if TYPE_CHECKING:
    import duckdb

KIND = "import"
UNKNOWN_MACHINE = "unknown"
SAID_NOTHING = "no row says what it changed"
#: Columns that have to agree between two rows that are compared.
ALIKE = ("model", "task", "dataset", "gpu", "device", "host")
_RUNS = "SELECT run_id, name, metric, direction, noise_sd FROM imports WHERE run_id IS NOT NULL ORDER BY path"
_ROWS = """
SELECT r.line, e.status, e.decision, e.metric, e.description, e.diff, r.extra, r.again, r.step_gain
FROM import_rows AS r JOIN experiments AS e USING (run_id, experiment_id) WHERE run_id = $run ORDER BY r.number
"""


@dataclass(frozen=True)
class ImportedRun:
    """A run of an import. ``noise_sd``: of its metric between repeated runs."""

    run_id: str
    name: str
    metric: str | None
    direction: str
    noise_sd: float | None


@dataclass
class LearntLog:
    """What one run of an import showed. ``left_out``: reason → rows; ``problem``: why there is nothing at all."""

    name: str
    effects: list[Effect] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problem: str = ""


def of_import(con: duckdb.DuckDBPyConnection, task: Task | None, source: str) -> list[LearntLog]:
    """What each run of an open imported study showed. Roles are those of ``task``'s knobs, without a task by name."""
    logs = []
    for run in typed_rows(con.execute(_RUNS), ImportedRun):
        log = LearntLog(run.name)
        logs.append(log)
        if task is not None and (problem := _another_task(run, task)):
            log.problem = problem
            continue
        _learn(log, typed_rows(con.execute(_ROWS, {"run": run.run_id}), ImportedRow), run, task, source)
    return logs


def _another_task(run: ImportedRun, task: Task) -> str:
    """Why a log cannot be one of this task; empty if it can."""
    if run.direction != task.direction:
        return f"in the log {run.direction} is better, on {task.name} {task.direction}"
    if run.metric and plain_name(run.metric) != plain_name(task.metric):
        return f"the log's metric is {run.metric}, that of {task.name} is {task.metric}"
    return ""


def _learn(
    log: LearntLog, experiments: Sequence[ImportedRow], run: ImportedRun, task: Task | None, source: str
) -> None:
    names = RoleNames(task)
    ways = [(way, [way(row) for row in experiments]) for way in readings(names, experiments)]
    said = next((changes for _, changes in ways if _tells(changes)), None)
    if said is None:
        unknown = sorted({name for _, changes in ways for change in changes if change for name in change.unknown})
        log.problem = f"no role is known for {', '.join(unknown[:6])}" if unknown else SAID_NOTHING
        return
    start = role_values(task, task.baseline()) if task else {}
    trials = _Course(log, experiments, said, start, run.noise_sd).trials()
    if len(trials) < 2:
        log.problem = log.problem or f"{SAID_NOTHING} against a measured script"
        return
    subject = subject_of(task) if task else _subject(run)
    log.effects = effects_of(trials, subject, kind=KIND, source=f"{source}: {log.name}")
    log.problem = "" if log.effects else "no row was better than the first one"


def _tells(changes: Sequence[Changed | None]) -> bool:
    """Whether rows differ in a role, or one says what it changed."""
    wholes = {tuple(sorted(change.new.items(), key=str)) for change in changes if change and change.whole}
    return len(wholes) > 1 or any(change and change.new and not change.whole for change in changes)


def _subject(run: ImportedRun) -> Subject:
    """A log without a task is a task of its own, by its name and metric."""
    name, metric = str(run.name), str(run.metric or "metric")
    sign = -1.0 if run.direction == "higher" else 1.0
    return Subject(name, name, content_id("t", "import", name, metric), metric, UNKNOWN_MACHINE, sign)


@dataclass(frozen=True)
class _Script:
    """A script that was measured: the value of each role, its metric, and how often it was measured."""

    config: Mapping[str, Value]
    metric: float
    n: int
    alike: tuple[str, ...] = ()


class _Course:
    """The course of a log: which script each row was made from, and what the row changed."""

    def __init__(
        self,
        log: LearntLog,
        experiments: Sequence[ImportedRow],
        said: Sequence[Changed | None],
        start: Mapping[str, Value],
        noise: float | None,
    ) -> None:
        self.log, self.rows, self.said, self.noise = log, experiments, said, noise
        self.values: dict[int, list[float]] = {}
        for row in experiments:
            if row.metric is not None:
                self.values.setdefault(row.again or row.line, []).append(row.metric)
        self.first = next((i for i, row in enumerate(experiments) if row.metric is not None), None)
        moved: set[str] = set()
        own: dict[str, Value] = {}  # of the untouched script: what the log says of a role before a kept row changed it
        for index, (row, change) in enumerate(zip(experiments, said, strict=True)):
            if change is not None and change.whole:
                own = {**(change.new if index == self.first else {}), **own}
            elif change is not None:
                own = {**{role: value for role, value in change.old.items() if role not in moved}, **own}
                moved |= change.new.keys() if _leads(row) else set()
        self.start = {**start, **own}

    def trials(self) -> list[EditTrial]:
        """The baseline, then every row that says what it changed."""
        first = self.first
        if first is None or not self.start:
            self.log.problem = "nothing was measured" if first is None else "no row says from which values it started"
            return []
        kept = self._script(self.rows[first], self.start, self.said[first])
        trials = [EditTrial(kept.config, {}, "ok", kept.metric, kept.metric, None, kept.n)]
        measured = [kept]
        for row, change in zip(self.rows[first + 1 :], self.said[first + 1 :], strict=True):
            if row.again is not None or row.decision == "baseline":
                continue
            parent = kept
            if change is not None and change.whole:
                config = {role: change.new.get(role, value) for role, value in self.start.items()}
                parent = self._nearest(measured, config, _alike(row, change)) or kept
            else:
                config = {**kept.config, **{r: v for r, v in (change.new if change else {}).items() if r in self.start}}
            trial = self._trial(parent, config, change, row)
            trials += [trial] if trial else []
            if row.metric is not None:
                script = self._script(row, config, change)
                measured.append(script)
                if _leads(row):
                    kept = script
        return trials

    def _script(self, row: ImportedRow, config: Mapping[str, Value], change: Changed | None) -> _Script:
        assert row.metric is not None  # a script that was measured
        values = self.values.get(row.line) or [row.metric]
        return _Script(config, fmean(values), len(values), _alike(row, change))

    @staticmethod
    def _nearest(measured: Sequence[_Script], config: Mapping[str, Value], alike: tuple[str, ...]) -> _Script | None:
        """The measured script with the fewest other values, the latest of several."""
        fitting = [script for script in measured if script.alike == alike and script.config != config]
        return min(reversed(fitting), key=lambda s: sum(s.config[r] != v for r, v in config.items()), default=None)

    def _trial(
        self, parent: _Script, config: Mapping[str, Value], change: Changed | None, row: ImportedRow
    ) -> EditTrial | None:
        edit = {role: value for role, value in config.items() if parent.config[role] != value}
        failed = row.status not in ("ok", None)
        why = self._unusable(parent, change, row)
        if not why and not edit:
            why = "the script had these values already"
        if not why and row.metric is None and not failed:
            why = "they have no metric"
        if why:
            self.log.left_out[why] += 1
            return None
        script = None if failed or row.metric is None else self._script(row, config, change)
        n = script.n if script else 1
        se = self.noise * math.sqrt(1 / n + 1 / parent.n) if self.noise and script else None
        status: Status = row.status or "ok"
        return EditTrial(parent.config, edit, status, parent.metric, script.metric if script else None, se, n)

    def _unusable(self, parent: _Script, change: Changed | None, row: ImportedRow) -> str:
        """Why a row cannot be compared with the script before it; empty if it can."""
        if change is None:
            return "they do not say what they changed"
        if not change.whole and any(_another(parent.config.get(role, old), old) for role, old in change.old.items()):
            return "they start from another value than the last kept row has"
        unknown = [*({} if change.whole else change.unknown), *sorted(change.new.keys() - self.start.keys())]
        if unknown:
            return f"no role or no starting value is known for {', '.join(unknown[:4])}"
        return "" if parent.alike == _alike(row, change) else "they also differ in something that has no role"


def _another(value: Value, written: Value) -> bool:
    """Whether a value is another one than was written, perhaps rounded."""
    if isinstance(value, str | bool) or isinstance(written, str | bool):
        return value != written
    return abs(value - written) > 0.51 * last_digit(written)


def _leads(row: ImportedRow) -> bool:
    """Whether the search went on from this row."""
    return row.decision == "keep" or (row.decision is None and row.step_gain is not None)


def _alike(row: ImportedRow, change: Changed | None) -> tuple[str, ...]:
    """What has to be the same in two rows that are compared, beside the settings with a role."""
    cells = row.extra or {}
    others = change.unknown if change is not None and change.whole else {}
    return (*(cells.get(name, "") for name in ALIKE), *(f"{name}={others[name]}" for name in sorted(others)))
