"""Reads a study's ledger for a tracker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from analysis.study import read_study
from analysis.tables import rows, rows_as
from analysis.trackers.contract import Files, Step, TrackedRun, TrackedStudy, Verdict, markdown
from analysis.trust import weakest
from analysis.verdict.decision import Decision, decision_of
from analysis.verdict.verdict import decided
from analysis.wording import arm_name
from trainer.cards import freshness
from trainer.edits import Value

RUNS = """
SELECT r.run_id, r.name, r.role, r.purpose, r.generation, r.task, r.program_id, r.match_id, r.arm_id, r.stream,
       r.run_seed, r.researcher, r.direction, r.state, r.reason, r.device_seconds_budget, r.device_seconds_charged,
       r.experiments, r.kept, r.claimed_best, r.claimed_gain, r.verified_gain, r.verified_seeds, r.failed_seeds,
       r.wall_seconds, r.trust, r.score_stream, r.sandbox AS sandbox_device_seconds, r.final_source_id,
       CASE WHEN r.calls > 0 THEN r.tokens END AS tokens, CASE WHEN r.calls > 0 THEN r.usd END AS usd,
       r.started_at, r.ended_at, greatest(r.ended_at, v.last) AS measured_at, p.text,
       (SELECT config ->> 'sandbox' FROM studies LIMIT 1) AS sandbox
FROM runs AS r LEFT JOIN programs AS p ON p.program_id = r.program_id
    LEFT JOIN (SELECT run_id, max(verified_at) AS last FROM verifications GROUP BY run_id) AS v ON v.run_id = r.run_id
ORDER BY r.started_at, r.run_id
"""
STEPS = """
SELECT experiment_id, run_id, number, status, decision, metric, gain, device_seconds_charged, fraction, config,
    description, trust, started_at + to_seconds(coalesce(wall_seconds, 0.0)) AS ended_at
FROM experiments ORDER BY run_id, number
"""
CHAMPION = "SELECT details FROM champions ORDER BY named_at DESC LIMIT 1"
FIRST = "SELECT record ->> 'hash' AS hash, record ->> 'version' AS version FROM events WHERE kind = 'study' LIMIT 1"
TABLES = ("studies", "runs", "experiments", "programs", "verifications", "champions")
SETTINGS = (
    "study",
    "metaloop",
    "name",
    "role",
    "purpose",
    "generation",
    "task",
    "program_id",
    "match_id",
    "arm_id",
    "stream",
    "run_seed",
    "researcher",
    "direction",
    "device_seconds_budget",
    "sandbox",
    "started_at",
)
FACTS = ("study_name", "state", "reason", "trust", "score_stream", "ended_at")
FIGURES = (
    "verified_gain",
    "claimed_gain",
    "claimed_best",
    "device_seconds_charged",
    "sandbox_device_seconds",
    "experiments",
    "kept",
    "verified_seeds",
    "failed_seeds",
    "tokens",
    "usd",
    "wall_seconds",
    "best_step",
)


@dataclass(frozen=True)
class RunSources:
    """What the files of a run are read from: the text of its program, and the script that it ended with."""

    run_id: str
    task: str
    text: str | None
    final_source_id: str | None


class StepRow(TypedDict):
    """A row of STEPS."""

    experiment_id: str
    run_id: str
    number: int
    status: str
    decision: str | None
    metric: float | None
    gain: float | None
    device_seconds_charged: float | None
    fraction: float | None
    config: Mapping[str, Value] | None
    description: str | None
    trust: str | None
    ended_at: str | None


Reader = Callable[[RunSources], Files]


def program_alone(run: RunSources) -> Files:
    """The text of a run's program."""
    return {"program.md": run.text} if run.text else {}


def tracked(folder: Path, files: Reader = program_alone) -> TrackedStudy:
    """The study as trackers get it, all of it from one reading of the ledger. ``files`` gives those of a row of runs.

    Raises as `analysis.study.read_study`.
    """
    with read_study(folder, views=(), tables=TABLES) as con:
        experiments = rows_as(con.execute(STEPS), StepRow)
        runs, champion, first = (rows(con.execute(sql)) for sql in (RUNS, CHAMPION, FIRST))
    steps: dict[str, list[StepRow]] = {}
    for row in experiments:
        steps.setdefault(row["run_id"], []).append(row)
    name = folder.resolve().name
    study_id = str(first[0]["hash"] or "")[:12] if first else ""
    whose = {"study": study_id, "metaloop": first[0]["version"] if first else None, "study_name": name}
    event = champion[0]["details"] if champion else {}
    decision = decision_of(event) if "decision" in event else None
    named = {key: str(whose[key]) for key in ("study_name", "metaloop") if whose[key]}
    verdict = {**_verdict(decision), **named} if decision else {}
    known = weakest(row["trust"] for row in runs) or weakest(row["trust"] for row in experiments)
    fresh = freshness.of_record(decision.fresh if decision else "", known)
    sent = [_run({**row, **whose}, steps.get(row["run_id"], ()), files) for row in runs]
    return TrackedStudy(name, study_id, sent, _note(name, verdict, fresh), verdict)


def _run(row: dict[str, Any], steps: Sequence[StepRow], files: Reader) -> TrackedRun:
    curve = list(_steps(steps)) if row["direction"] != "higher" else list(_steps(steps, max))
    chosen = [step for step in curve if step.decision in ("keep", "baseline") and "metric" in step.values]
    best = next((step for step in chosen if step.values["metric"] == curve[-1].values["best_metric"]), None)
    facts = {key: str(row[key]) for key in FACTS if row[key]}
    facts["trust"] = row["trust"] or "none"
    if best is not None:
        facts["best_description"] = best.description
        row["best_step"] = best.number
    return TrackedRun(
        row["run_id"],
        f"{arm_name(row['name'] or row['program_id'], row['role'])} {row['run_id']}",
        row["state"],
        {key: row[key] for key in SETTINGS if row[key] is not None},
        facts,
        {key: float(row[key]) for key in FIGURES if _finite(row.get(key))},
        curve,
        _seconds(row["started_at"]),
        _seconds(row["ended_at"]),
        _seconds(row["measured_at"]),
        partial(files, RunSources(row["run_id"], row["task"], row["text"], row["final_source_id"])),
    )


def _steps(rows: Sequence[StepRow], better: Callable[[float, float], float] = min) -> Iterator[Step]:
    spent, best = 0.0, dict[str, float]()
    for row in rows:
        spent += row["device_seconds_charged"] or 0.0
        values = {"device_seconds": spent, "kept": float(row["decision"] == "keep")}
        short = "_screening" if row["fraction"] is not None and row["fraction"] < 1 else ""
        measured = (("metric", row["metric"]), ("gain", row["gain"]))
        values |= {f"{key}{short}": float(x) for key, x in measured if x is not None and math.isfinite(x)}
        if row["decision"] in ("keep", "baseline"):
            for key, choose in (("metric", better), ("gain", max)):
                if key in values:
                    best[f"best_{key}"] = choose(best.get(f"best_{key}", values[key]), values[key])
        yield Step(
            row["experiment_id"],
            row["number"],
            row["status"],
            row["decision"] or "",
            row["description"] or "",
            _seconds(row["ended_at"]),
            row["config"] or {},
            values | best,
        )


def _verdict(d: Decision) -> Verdict:
    """The fields of the verdict; a number that is not known is left out."""
    tested, said = d.tested, decided(d).sentences
    figures = {
        "gain": d.champion.mean,
        "reference_gain": tested.gain.mean,
        "difference": tested.difference,
        "low": tested.low,
        "high": tested.high,
        "p": d.p,
        "ratio": tested.ratio,
    }
    if d.night:  # the gains of its test are those of turns
        script = next(iter(d.scripts), None)
        figures = {"gain": script.gain, "low": script.low, "high": script.high, "p": d.p} if script else {"p": d.p}
    return {
        "winner": d.name if d.holds else "none",
        "champion": d.name,
        "reference": tested.name,
        "unit": d.unit,
        "headline": decided(d).headline,
        "verdict": " ".join(said),
        **{key: float(value) for key, value in figures.items() if value is not None and _finite(value)},
    }


def _note(study: str, verdict: Verdict, fresh: str) -> str:
    return (
        f"Metaloop study {study}. {markdown(verdict)}\n\nThe runs that the verdict is made from: filter "
        '`params.purpose = "confirmation"` (of a night, "night"), group by `name`, and compare '
        "`run.verified_gain`. It is measured after a "
        f"run, {freshness.UNSEEN[fresh]}; `tags.trust` says how far to rely on it. `run.claimed_gain` "
        "and the curves are what the run itself saw."
    )


def _seconds(at: str | None) -> float | None:
    return None if at is None else datetime.fromisoformat(at).timestamp()


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
