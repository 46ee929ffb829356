"""Imports many logs into one study folder, on all cores and atomically."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports import events
from analysis.imports.find import LogFile, find
from analysis.imports.load import Doubt, LogReport, LogResult, Options, RunOfLog, load
from analysis.imports.text import UnreadableLog
from analysis.ledger import Ledger, segments, sync_file
from analysis.ledger_problems import SCHEMA
from programs.errors import EnvironmentProblem, NotFound, UsageError
from programs.ids import content_id

if TYPE_CHECKING:
    from pydantic import JsonValue

SMALL = 4 << 20  # bytes of logs below which a second process is not worthwhile
BATCH = 4096  # events of one write
AnswerDoubt = Callable[[Doubt], str | None]


@dataclass
class Imported:
    """The result of an import. ``logs``: one per run or log without a run."""

    folder: Path
    study_id: str
    logs: list[LogResult] = field(default_factory=list)
    programs: int = 0
    asides: list[dict[str, JsonValue]] = field(default_factory=list)  # the first ones of each log
    contradictions: list[str] = field(default_factory=list)  # the first ones of each run

    @property
    def runs(self) -> list[RunOfLog]:
        return [log.run for log in self.logs if log.run is not None]


def import_logs(
    paths: Sequence[Path], folder: Path, options: Options, *, workers: int = 1, ask: AnswerDoubt | None = None
) -> Imported:
    """Imports the logs at ``paths`` into a new study at ``folder``.

    ``ask`` answers doubts (a direction, or None to quarantine the log); without it the log is quarantined. Raises
    UsageError, NotFound, EnvironmentProblem if nothing was imported, and then leaves no folder.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists", hint="name a new folder with --study")
    try:
        logs = find(paths)
    except UnreadableLog as error:
        raise UsageError(str(error), hint="name the log files, or a smaller folder") from None
    _refuse_hopeless(paths, logs)
    stage = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(stage, ignore_errors=True)
        (stage / "ledger").mkdir(parents=True)
        result = _read_all(logs, stage, folder, options, workers, ask)
        stage.rename(folder)
    except OSError as error:
        hint = "name another folder with --study"
        raise EnvironmentProblem(f"{folder}: {error.strerror or error}", hint=hint) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return result


def _refuse_hopeless(paths: Sequence[Path], logs: Sequence[LogFile]) -> None:
    """Raises if none of the named paths can be read."""
    if not logs:
        shown = ", ".join(map(str, paths[:3]))
        raise NotFound(
            f"{shown}: no log of experiments found", hint="name the file itself: metaloop import results.tsv"
        )
    named = [item for item in logs if not item.searched and item.reason]
    if len(named) == len(logs):
        raise UsageError(f"{named[0].label}: {named[0].reason}", hint="metaloop import reads results.tsv files")


def _read_all(
    files: Sequence[LogFile], stage: Path, folder: Path, options: Options, workers: int, ask: AnswerDoubt | None
) -> Imported:
    reports = _load_all(files, stage, options, workers)
    doubts: list[Doubt] = []
    while doubtful := [index for index, report in enumerate(reports) if report.doubts]:
        doubts += (open_ := [doubt for index in doubtful for doubt in reports[index].doubts])
        options = _settled(open_, options, ask)
        again = _load_all([files[index] for index in doubtful], stage, options, workers)
        for index, report in zip(doubtful, again, strict=True):
            reports[index] = report
    logs = [result for report in reports for result in report.results]
    _check(logs, options, doubts if ask is None else [])
    study_id = content_id("y", *sorted({log.import_id for log in logs}), datetime.now(UTC).isoformat())
    programs = {str(p["program_id"]): p for report in reports if (p := report.program) is not None}
    with Ledger(stage / "ledger", "import") as ledger:
        ledger.extend([_study_event(study_id, options), *programs.values(), *_matches(logs)], sync=False)
        ledger.extend([log.event for log in logs if log.state in ("refused", "duplicate")])
    for path in segments(stage / "ledger"):
        sync_file(path)
    _write_config(stage / "study.toml", study_id, options)
    asides = [aside for report in reports for aside in report.asides]
    return Imported(folder, study_id, logs, len(programs), asides, [line for r in reports for line in r.contradictions])


def _settled(doubts: Sequence[Doubt], options: Options, ask: AnswerDoubt | None) -> Options:
    """The options with an answer for every doubt: that of ``ask``, else None, which quarantines the log."""
    answers = dict(options.answers)
    for doubt in doubts:
        if doubt.key not in answers:
            answers[doubt.key] = ask(doubt) if ask else None
    return replace(options, answers=answers)


def _check(logs: Sequence[LogResult], options: Options, doubts: Sequence[Doubt]) -> None:
    """Raises UsageError if no log could be read, or none has the requested metric. ``doubts``: unanswered ones."""
    if doubts and not any(log.state in ("imported", "empty") for log in logs):
        first = doubts[0]
        more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
        given = f"--metric {first.candidates[0]}" if first.what == "metric" else "--direction lower|higher"
        raise UsageError(f"{first.log}: {first.why}{more}", hint=f"give {given}, or --skip-unsure to quarantine it")
    if all(log.state in ("refused", "duplicate") for log in logs):
        refused = next((log for log in logs if log.state == "refused"), logs[0])
        raise UsageError(f"{refused.path}: {refused.reason}", hint="metaloop import reads results.tsv files")
    requested, runs = options.metric, [log.run for log in logs if log.run is not None]
    if requested and not any(run.metric_from in ("given", "named in each row") for run in runs):
        there = sorted({run.metric for run in runs if run.metric})
        hint = f"metrics in the logs: {', '.join(there[:8])}" if there else "check the header of the log"
        raise UsageError(f"no log has a column {requested!r}", hint=hint)


def _load_all(logs: Sequence[LogFile], stage: Path, options: Options, workers: int) -> list[LogReport]:
    """A report for each log, in order; their events go to the ledger, a segment per process."""
    count = min(workers, len(logs)) if sum(item.size for item in logs) > SMALL else 1
    if count < 2:
        return _load_some(logs, stage, options)
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(range(len(logs)), key=lambda i: -logs[i].size):
        least = loads.index(min(loads))
        shares[least].append(index)
        loads[least] += logs[index].size + 1
    reports: dict[int, LogReport] = {}
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_load_some, [logs[i] for i in share], stage, options) for share in shares]
        for share, job in zip(shares, jobs, strict=True):
            reports |= zip(share, job.result(), strict=True)
    return [reports[index] for index in range(len(logs))]


def _load_some(logs: Sequence[LogFile], stage: Path, options: Options) -> list[LogReport]:
    reports = []
    with Ledger(stage / "ledger", "import") as ledger:
        for item in logs:
            report, written = load(item, options)
            batch: list[dict[str, JsonValue]] = []
            for event in written:
                batch.append(event)
                if len(batch) >= BATCH:
                    ledger.extend(batch, sync=False)
                    batch = []
            ledger.extend(batch, sync=False)
            reports.append(report)
    return reports


def _matches(logs: Sequence[LogResult]) -> list[dict[str, JsonValue]]:
    """A match for each metric and direction, to group the runs; nothing was played."""
    arms: dict[tuple[str | None, str], list[JsonValue]] = defaultdict(list)
    for log in logs:
        if log.run is not None:
            arm_id = events.arm_id(events.run_id(log.import_id, log.run.metric))
            arm: JsonValue = {"arm_id": arm_id, "program_id": log.program_id, "role": "program"}
            arms[log.run.metric, log.run.direction].append(arm)
    out: list[dict[str, JsonValue]] = []
    for (metric, way), entries in arms.items():
        name = events.match_id(metric, way)
        label = f"{metric or 'a metric without a name'}, {way} is better"
        out.append(
            {
                "kind": "match",
                "match_id": name,
                "purpose": "import",
                "direction": way,
                "metric": metric,
                "label": label,
                "arms": entries,
            }
        )
        out.append({"kind": "match_ended", "match_id": name, "state": events.STATE})
    return out


def _study_event(study_id: str, options: Options) -> dict[str, JsonValue]:
    config: dict[str, JsonValue] = {"command": "import", **options.stated}
    return {"kind": "study", "study_id": study_id, "version": version("metaloop"), "config": config}


def _write_config(path: Path, study_id: str, options: Options) -> None:
    import tomli_w

    body = {
        "schema": SCHEMA,
        "study_id": study_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "import",
        "versions": {"metaloop": version("metaloop")},
        "stated": {key: value for key, value in options.stated.items() if value is not None},
    }
    path.write_text(tomli_w.dumps(body), encoding="utf-8")
