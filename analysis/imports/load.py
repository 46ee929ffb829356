"""Converts one log into events: read, decide direction, judge, join commits, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analysis.imports import events
from analysis.imports.direction import Direction
from analysis.imports.figures import Figures, figures
from analysis.imports.find import LogFile, contents
from analysis.imports.judge import Judged, Judgement, judge
from analysis.imports.program import beside
from analysis.imports.repository import Joined, opened
from analysis.imports.runs import Run, runs_of
from analysis.imports.table import LogTable, read_table, set_aside
from analysis.imports.text import UnreadableLog, decode, lines

if TYPE_CHECKING:
    from pydantic import JsonValue

SHOWN = 5  # quarantined lines and contradictions of a log that a summary quotes
Key = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Options:
    """The user's settings. ``answers`` to doubts: metric → direction, candidates → metric; None: quarantine."""

    metric: str | None = None
    direction: str | None = None
    noise: float | None = None
    skip_unsure: bool = False
    answers: Mapping[Key, str | None] = field(default_factory=dict)

    @property
    def stated(self) -> dict[str, str | float | None]:
        return {"metric": self.metric, "direction": self.direction, "noise": self.noise}

    def closed(self, key: Key) -> bool:
        """Whether a doubt has been answered."""
        return self.skip_unsure or key in self.answers


@dataclass(frozen=True)
class Doubt:
    """A log with an unclear metric or direction."""

    log: str
    what: str  # metric, direction
    metric: str | None
    why: str
    candidates: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return self.candidates or self.metric


@dataclass(frozen=True)
class RunOfLog:
    """A run in a log, with its figures; ``rows`` after merging."""

    metric: str | None
    metric_from: str
    direction: str
    direction_from: str
    rows: int
    merged_rows: int
    commits_joined: int
    figures: Figures


@dataclass(frozen=True)
class LogResult:
    """A run of a log, or a log without one. ``event``: its `import` event. ``quarantined``: lines, of the whole log in
    its first result."""

    event: dict[str, JsonValue]
    import_id: str
    path: str
    name: str
    state: str  # imported, duplicate, refused, unsure, empty
    reason: str = ""
    program_id: str | None = None
    quarantined: int = 0
    run: RunOfLog | None = None


@dataclass
class LogReport:
    """All results of one log. ``program``: the event of its program, written once."""

    results: list[LogResult] = field(default_factory=list)
    program: dict[str, JsonValue] | None = None
    doubts: list[Doubt] = field(default_factory=list)
    asides: list[dict[str, JsonValue]] = field(default_factory=list)  # the first ones
    contradictions: list[str] = field(default_factory=list)  # the first ones


def load(log: LogFile, options: Options) -> tuple[LogReport, Iterable[dict[str, JsonValue]]]:
    """(report of a log, the events to write). With an open doubt, there are no events."""
    report = LogReport()
    identity = events.import_id(log.digest or log.label)
    base: dict[str, JsonValue] = {"kind": "import", "import_id": identity, "path": log.label, "name": log.name}
    base |= {"bytes": log.size, "digest": log.digest}
    if log.reason or log.duplicate_of:
        other = events.import_id(log.duplicate_of) if log.duplicate_of else None
        state = "duplicate" if other else "refused"
        event = base | {"state": state, "duplicate_of": other, "reason": log.reason}
        report.results.append(LogResult(event, identity, log.label, log.name, state, log.reason))
        return report, ()
    try:
        table, runs = _read(log, options)
    except UnreadableLog as error:
        event = base | {"state": "refused", "reason": str(error)}
        report.results.append(LogResult(event, identity, log.label, log.name, "refused", str(error)))
        return report, ()
    for run in runs:
        run.direction = _answered(run, options)
    report.doubts = [d for run in runs if (d := _doubt(log, run)) and not options.closed(d.key)]
    if report.doubts:
        return report, ()
    return report, _written(log, options, identity, base, report, table, runs)


def _read(log: LogFile, options: Options) -> tuple[LogTable, list[Run]]:
    text = lines(decode(contents(log)))
    table, runs = _runs(text, options.metric, options)
    chosen = next((name for run in runs if run.doubt and (name := options.answers.get(run.doubt))), None)
    return (table, runs) if chosen is None else _runs(text, chosen, options)


def _runs(text: Sequence[str], metric: str | None, options: Options) -> tuple[LogTable, list[Run]]:
    table = read_table(text, metric)
    runs, asides = runs_of(table, metric, options.direction)
    table.asides += asides
    return table, runs


def _answered(run: Run, options: Options) -> Direction:
    way = None if run.direction.way else options.answers.get(run.metric)
    return Direction(way, "given") if way else run.direction


def _doubt(log: LogFile, run: Run) -> Doubt | None:
    if run.doubt:
        why = f"several columns could be the metric: {', '.join(run.doubt)}"
        return Doubt(log.label, "metric", run.metric, why, run.doubt)
    if run.direction.way is None:
        return Doubt(log.label, "direction", run.metric, run.direction.why)
    return None


def _written(
    log: LogFile,
    options: Options,
    identity: str,
    base: dict[str, JsonValue],
    report: LogReport,
    table: LogTable,
    runs: Sequence[Run],
) -> Iterator[dict[str, JsonValue]]:
    """The events of a log, including its `import` events; `report` is complete after the last event."""
    report.program, problem = beside(log.path, log.repository, log.name)
    program_id = str(report.program["program_id"]) if report.program else None
    sure = [run for run in runs if run.direction.way and not run.doubt]
    unsure = [(run, _why(run)) for run in runs if not run.direction.way or run.doubt]
    aside = [*table.asides, *(a for run, why in unsure for row in run.rows for a in set_aside(row, why))]
    state = "imported" if sure else ("unsure" if unsure else "empty")
    shared = base | {
        "state": state,
        "program_id": program_id,
        "program_problem": problem or None,
        "repository": str(log.repository) if log.repository else None,
    }
    counts: dict[str, JsonValue] = {
        "lines": table.lines,
        "headers": table.headers,
        "blanks": table.blanks,
        "quarantined": len(aside),
    }
    result = LogResult({}, identity, log.label, log.name, state, program_id=program_id, quarantined=len(aside))
    for run in sure:
        judged = judge(run)
        totals = figures(judged, options.noise)
        report.contradictions += [item.problem for item in judged.rows if item.problem][:SHOWN]
        commits, note = joined(log, judged)
        yield from events.run_events(identity, run, judged, totals, program_id, commits)
        event = shared | counts | _run_part(identity, run, totals, commits, note)
        report.results.append(replace(result, event=event, run=_run_of(run, totals, len(commits))))
        yield event
        # they count the whole file, so only its first run has them
        counts = dict.fromkeys(counts, 0)
        result = replace(result, quarantined=0)
    report.asides = [events.aside_event(identity, log.label, item) for item in aside[:SHOWN]]
    yield from (events.aside_event(identity, log.label, item) for item in aside)
    if not sure:
        reason = unsure[0][1] if unsure else "a header without rows that can be read"
        event = shared | counts | {"rows": 0, "reason": reason}
        report.results.append(replace(result, event=event, reason=reason))
        yield event


def _why(run: Run) -> str:
    return f"the metric may be any of {', '.join(run.doubt)}" if run.doubt else run.direction.why


def _run_of(run: Run, totals: Figures, joined: int) -> RunOfLog:
    way, why = run.direction.way, run.direction.why
    return RunOfLog(run.metric, run.source, str(way), why, len(run.rows), run.merged, joined, totals)


def _run_part(identity: str, run: Run, totals: Figures, commits: dict[int, Joined], note: str) -> dict[str, JsonValue]:
    return {
        "run_id": events.run_id(identity, run.metric),
        "metric": run.metric,
        "metric_from": run.source,
        "direction": run.direction.way,
        "direction_from": run.direction.why,
        "rows": len(run.rows),
        "merged_rows": run.merged,
        "row_lines": sum(row.lines for row in run.rows) + run.merged,
        "commits_joined": len(commits),
        "repository_note": note or None,
        **events.figures_event(totals),
    }


def _was_kept(item: Judged) -> bool:
    return item.decision in ("keep", "baseline") or item.step is not None


def joined(log: LogFile, judged: Judgement) -> tuple[dict[int, Joined], str]:
    """(line → commit, a remark) for the rows whose commit the repository has, the kept ones first.

    A discarded row often has the hash of the commit it started from; if a kept row has that hash, the discarded row is
    not joined to it.
    """
    if log.repository is None:
        return {}, ""
    out: dict[int, Joined] = {}
    held: set[str] = set()  # commits of kept rows
    try:
        with opened(log.repository) as commits:
            for item in sorted(judged.rows, key=_was_kept, reverse=True):
                kept = _was_kept(item)
                if not kept and not held and judged.decided:
                    break
                commit = commits.join(item.row.commit, log.path.name)
                if commit is not None and (kept or commit.commit not in held):
                    out[item.row.line] = commit
                    held |= {commit.commit} if kept else set()
    except UnreadableLog as error:
        return out, str(error)
    return out, "" if out else "the repository has none of the log's commits"
