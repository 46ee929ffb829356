"""Writes a study into W&B or Trackio, which has the same API, once, as it is now: one run for each run, grouped by the
purpose of its match, with its experiments as steps of a curve, and one run for the verdict."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.study import read_study
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.views.tables import rows, statement
from analysis.wording import arm_name
from programs.common.errors import EnvironmentProblem, MetaloopError, UsageError

VERDICT = "verdict"  # id of the run with the fields of the verdict


@dataclass(frozen=True)
class Step:
    """An experiment of a run. ``at``: when it ended, in seconds since 1970, if that is known. ``values``: `status`,
    `decision`, `description` and the numbers of `queries/other/tracked_runs.sql`; what an experiment does not have, a
    failed one its metric, is left out."""

    number: int
    at: float | None
    values: Mapping[str, str | float]


@dataclass(frozen=True)
class TrackedRun:
    """A run as both tools take it. ``config``: what it was given, and how it ended (W&B groups by what is in the
    config). ``summary``: its figures (`run/…`, because a step has a `kept` too) and how it ended."""

    run_id: str
    name: str
    group: str
    config: Mapping[str, str | float]
    steps: Sequence[Step]
    summary: Mapping[str, str | float]
    succeeded: bool = True


def tracked(folder: Path) -> list[TrackedRun]:
    """The runs of the study in a folder, in the order of their starts, and a last one with the fields of its verdict,
    if any. All of it is from one reading of the ledger. Raises as `analysis.study.read_study`."""
    with read_study(folder, views=VIEWS) as con:
        found, verdict = rows(con.execute(statement("other/tracked_runs"))), verdict_of(con)
    name = folder.resolve().name
    runs = [_run(row, name) for row in found]
    if verdict.decision:
        fields = verdict_fields(verdict) | {"study_name": name}
        study = {"study": runs[0].config.get("study", "") if runs else ""}
        runs.append(TrackedRun(VERDICT, VERDICT, VERDICT, study | fields, (), fields))
    return runs


def _run(row: Mapping[str, Any], study: str) -> TrackedRun:
    settings, facts, figures = (known(row[part]) for part in ("settings", "facts", "figures"))
    facts |= {"study_name": study}
    return TrackedRun(
        run_id=row["run_id"],
        name=f"{arm_name(row['program'], settings.get('role'))} {row['run_id']}",
        group=settings.get("purpose", ""),
        config=settings | facts,
        steps=[Step(step["number"], step["at"], step["words"] | known(step["values"])) for step in row["steps"]],
        summary={f"run/{key}": value for key, value in figures.items()} | facts,
        succeeded=facts["state"] in ("finished", "imported"),
    )


def verdict_fields(verdict: Verdict) -> dict[str, str | float]:
    """The fields of a verdict with a decision; a number that is not known is left out."""
    d = verdict.decision
    assert d is not None
    figures = {
        "gain": d.champion.value,
        "reference_gain": d.tested.gain.value,
        "difference": d.tested.lead.value,
        "low": d.tested.lead.low,
        "high": d.tested.lead.high,
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


def to_wandb(runs: Sequence[TrackedRun], project: str, folder: Path) -> str:
    """Offline unless WANDB_MODE=online."""
    wandb: Any = import_module("wandb")
    goal, mode = _new(folder / project), os.environ.get("WANDB_MODE", "offline")
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
    how = {"project": project, "dir": str(goal), "mode": mode, "settings": settings, "reinit": "create_new"}
    for run in runs:
        opened = wandb.init(id=run.run_id, name=run.name, group=run.group, config=dict(run.config), **how)
        for step in run.steps:
            time = {} if step.at is None else {"_timestamp": step.at}
            opened.log({**step.values, **time}, step=step.number)
        opened.summary.update(dict(run.summary))
        opened.finish(exit_code=0 if run.succeeded else 1)
    if mode == "online":
        return f"W&B project {project}"
    return f"wandb leet {goal}/wandb, or to send them to your account: wandb sync {goal}/wandb/offline-run-*"


def to_trackio(runs: Sequence[TrackedRun], project: str, folder: Path) -> str:
    """A local database."""
    goal = _new(folder / project).resolve()
    os.environ["TRACKIO_DIR"] = str(goal)  # read when trackio is imported
    trackio: Any = import_module("trackio")
    with contextlib.redirect_stdout(io.StringIO()):  # it greets at every run
        for run in runs:
            config = {**run.config, "run_name": run.name, "run_id": run.run_id}
            opened = trackio.init(project=project, name=run.name, group=run.group, config=config, embed=False)
            for step in run.steps:
                opened.log(dict(step.values), step=step.number)
            opened.log(dict(run.summary))
            opened.finish()
            trackio.context_vars.current_run.set(None)  # else it is finished once more when the process ends
    return f"TRACKIO_DIR={goal} trackio show --project {project}"


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _new(folder: Path) -> Path:
    if folder.exists():
        raise UsageError(f"{folder} already exists", hint="delete it, or name another project: --project NAME")
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def client_errors(tool: str) -> Iterator[None]:
    """Reports in one line that a tool's client is missing, or what it raised, without logins in addresses."""
    try:
        yield
    except MetaloopError:
        raise
    except ImportError as error:
        hint = f"in your clone of Metaloop: pip install -c constraints.txt '.[{tool}]'"
        raise UsageError(f"--to {tool} needs its package: {error}", hint=hint) from None
    except Exception as error:
        line = re.sub(r"://[^/@\s]+@", "://", str(error).strip().partition("\n")[0]) or type(error).__name__
        raise EnvironmentProblem(f"{tool}: {line}", hint="docs/trackers.md") from error
