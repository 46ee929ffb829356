"""A judged log as events of the ledger. Missing values are left out and read as NULL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from analysis.imports.figures import Figures
from analysis.imports.judge import Judged, Judgement
from analysis.imports.repository import Joined
from analysis.imports.runs import Run
from analysis.imports.table import Aside
from programs.ids import content_id, content_ids

if TYPE_CHECKING:
    from pydantic import JsonValue

TRUST = "self-reported"
STATE = "imported"
DESCRIPTION = 4_000  # characters stored


def import_id(digest: str) -> str:
    """The id of a log, by its bytes: copies of a file are the same import."""
    return content_id("i", digest)


def run_id(identity: str, metric: str | None) -> str:
    return content_id("r", identity, metric or "")


def match_id(metric: str | None, way: str) -> str:
    """The match of runs with the same metric and direction; they are not comparable beyond that."""
    return content_id("m", "import", metric or "", way)


def arm_id(run: str) -> str:
    return content_id("a", run)


def run_events(
    identity: str, run: Run, judged: Judgement, totals: Figures, program_id: str | None, commits: Mapping[int, Joined]
) -> Iterator[dict[str, JsonValue]]:
    """The run's start, its experiments, its findings and its end. ``commits``: line → commit of the row."""
    name, way = run_id(identity, run.metric), str(run.direction.way)
    yield {
        "kind": "run_started",
        "run_id": name,
        "import_id": identity,
        "match_id": match_id(run.metric, way),
        "arm_id": arm_id(name),
        "program_id": program_id,
        "direction": way,
    }
    named = content_ids("e", name)
    for item in judged.rows:
        yield _experiment(named(str(item.number)), name, item, commits.get(item.row.line))
    for item in judged.rows:
        if item.problem:
            yield {
                "kind": "finding",
                "run_id": name,
                "experiment_id": named(str(item.number)),
                "finding": item.contradiction,
                "text": item.problem,
            }
    yield {
        "kind": "run_ended",
        "run_id": name,
        "state": STATE,
        "claimed_best": totals.best_kept,
        "claimed_gain": totals.claimed_gain,
    }


def _experiment(identity: str, run: str, item: Judged, joined: Joined | None) -> dict[str, JsonValue]:
    row = item.row
    event: dict[str, JsonValue] = {
        "kind": "experiment",
        "run_id": run,
        "experiment_id": identity,
        "number": item.number,
        "line": row.line,
        "status": row.status,
        "metric": item.metric,
        "decision": item.decision,
        "description": row.description[:DESCRIPTION],
        "trust": TRUST,
        "category": item.category,
        "best_so_far": item.best,
    }
    stated: dict[str, JsonValue] = {
        "commit": row.commit or None,
        "word": row.word or None,
        "step_gain": item.step,
        "step_tries": None if item.step is None else item.tries,
        "again": item.again,
        "contradiction": item.contradiction or None,
        "extra": {**row.extra} or None,
        "peak_memory_mb": row.memory_mb,
        "wall_seconds": row.seconds,
        "seed": row.seed,
        "steps": row.steps,
    }
    if joined is not None:
        stated |= {"full_commit": joined.commit, "committed_at": joined.committed_at, "diff": joined.diff}
    return event | {key: value for key, value in stated.items() if value is not None}


def aside_event(identity: str, path: str, aside: Aside) -> dict[str, JsonValue]:
    return {"kind": "quarantine", "import_id": identity, "path": path, **asdict(aside)}


def figures_event(totals: Figures) -> dict[str, JsonValue]:
    """The figures of a run for its `import` event and the view `imports`."""
    plain: dict[str, JsonValue] = asdict(totals)
    del plain["noise"]
    noise = totals.noise
    return plain | {
        "noise_sd": noise.sd,
        "noise_df": noise.df,
        "noise_from": noise.source,
        "noise_share": totals.noise_share,
    }
