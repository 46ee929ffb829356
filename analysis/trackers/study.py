"""A study as trackers get it: its runs with their experiments as steps of a curve, their figures, and the verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study import read_study
from analysis.tables import rows, statement
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.wording import arm_name
from programs.errors import EnvironmentProblem, MetaloopError, UsageError

Setting = str | int | float


@dataclass(frozen=True)
class Step:
    """An experiment of a run. ``at``: when it ended, in seconds since 1970, if that is known. ``words``: `status`,
    `decision` and `description`. ``values``: `metric`, `gain` (`metric_screening`, `gain_screening` of a shorter
    training), `best_metric` and `best_gain` of the baseline and the kept scripts so far, `device_seconds` of the run so
    far, `kept` (0 or 1); what an experiment does not have, a failed one its metric, is left out."""

    number: int
    at: float | None
    words: Mapping[str, str]
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A run. ``settings``: what it was given; ``facts``: how it ended, in words (state, reason, trust, ...);
    ``figures``: its results, finite numbers only. Times are in seconds since 1970, None where they are not known.
    ``text``: of its program; ``final_source_id``: of the script that it ended with."""

    run_id: str
    name: str
    task: str
    state: str
    settings: Mapping[str, Setting]
    facts: Mapping[str, str]
    figures: Mapping[str, float]
    steps: Sequence[Step]
    started: float | None
    ended: float | None
    text: str | None
    final_source_id: str | None

    @property
    def succeeded(self) -> bool:
        return self.state in ("finished", "imported")


@dataclass(frozen=True)
class TrackedStudy:
    """A study: its name, its id, its runs in the order of their starts, and the verdict's fields (none without one)."""

    name: str
    study_id: str
    runs: Sequence[TrackedRun]
    verdict: Mapping[str, str | float]


Files = Callable[[TrackedRun], Mapping[str, str]]  # name → text


def tracked(folder: Path) -> TrackedStudy:
    """The study in a folder, all of it from one reading of the ledger. Raises as `analysis.study.read_study`."""
    with read_study(folder, views=VIEWS) as con:
        runs, verdict = rows(con.execute(statement("tracked_runs"))), verdict_of(con)
    name = folder.resolve().name
    sent = [_run(row, name) for row in runs]
    fields = _verdict(verdict) | {"study_name": name} if verdict.decision else {}
    return TrackedStudy(name, str(sent[0].settings.get("study", "")) if sent else "", sent, fields)


def _run(row: Mapping[str, Any], study: str) -> TrackedRun:
    settings, facts, figures = (_known(row[part]) for part in ("settings", "facts", "figures"))
    steps = [Step(step["number"], step["at"], step["words"], _known(step["values"])) for step in row["steps"]]
    name = f"{arm_name(row['program'], row['role'])} {row['run_id']}"
    times = row["started"], row["ended"]
    return TrackedRun(
        row["run_id"],
        name,
        row["task"],
        row["state"],
        settings,
        facts | {"study_name": study},
        figures,
        steps,
        *times,
        row["text"],
        row["final_source_id"],
    )


def _verdict(verdict: Verdict) -> dict[str, str | float]:
    """The fields of a verdict with a decision; a number that is not known is left out."""
    d = verdict.decision
    assert d is not None
    figures = {
        "gain": d.champion.mean,
        "reference_gain": d.tested.gain.mean,
        "difference": d.tested.difference,
        "low": d.tested.low,
        "high": d.tested.high,
        "p": d.p,
        "ratio": d.tested.ratio,
    }
    if d.night:  # the gains of its test are those of turns
        of_main = ("gain", "low", "high", "start", "end")
        figures = {"p": d.p} | {key: getattr(d.scripts[0], key) for key in of_main if d.scripts}
    return {
        "winner": d.name if d.holds else "none",
        "champion": d.name,
        "reference": d.tested.name,
        "unit": d.unit,
        "headline": verdict.headline,
        "verdict": " ".join(verdict.sentences),
        "caveats": "\n".join(f"{caveat.title}. {caveat.text}" for caveat in verdict.caveats),
        **{key: value for key, value in figures.items() if value is not None and math.isfinite(value)},
    }


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def first_line(error: Exception) -> str:
    return without_login(str(error).strip().partition("\n")[0]) or type(error).__name__


def without_login(text: str) -> str:
    """The text without users' names and passwords in its addresses."""
    return re.sub(r"://[^/@\s]+@", "://", text)


@contextmanager
def client_errors(tool: str) -> Iterator[None]:
    """Reports in one line that a tool's client is missing, or what it raised."""
    try:
        yield
    except MetaloopError:
        raise
    except ImportError as error:
        hint = f"in your clone of Metaloop: pip install -c constraints.txt '.[{tool}]'"
        raise UsageError(f"--to {tool} needs its package: {error}", hint=hint) from None
    except Exception as error:
        raise EnvironmentProblem(f"{tool}: {first_line(error)}", hint="docs/trackers.md") from error
