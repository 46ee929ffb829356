"""MLflow: one run for each run, in an experiment of the project's name; local SQLite without MLFLOW_TRACKING_URI."""

from __future__ import annotations

import json
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.trackers.study import Files, TrackedRun, TrackedStudy, first_line, without_login

MOST_METRICS = 900  # in one request; the server takes 1,000
MOST_CHARACTERS = 5000  # of a tag
TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # opens the table of runs
    "mlflow.experiment.primaryMetric.name": "run.verified_gain",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}
SOURCE = {"mlflow.source.name": "metaloop", "mlflow.source.type": "LOCAL"}
NOTE = """Metaloop study {name}. {verdict}

{caveats}

The runs that the verdict is made from: filter `params.purpose = "confirmation"` (of a night, "night"), group by `name`,
and compare `run.verified_gain`, which is measured after a run; `tags.trust` says how. `run.claimed_gain` and the curves
are what the run itself measured."""
VERDICT = ("winner", "champion", "reference", "unit", "headline")  # beside its numbers


def to_mlflow(study: TrackedStudy, project: str, folder: Path, files: Files) -> str:
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for --json
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else a server that is away takes minutes
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    tracking: Any = import_module("mlflow.tracking")
    server, store = os.environ.get("MLFLOW_TRACKING_URI", ""), None
    if not server:
        folder.mkdir(parents=True, exist_ok=True)
        store = (folder.resolve() / "files").as_uri()
    uri = server or f"sqlite:///{folder.resolve()}/mlflow.db"
    client = tracking.MlflowClient(tracking_uri=uri)
    shown = {key: value for key, value in study.verdict.items() if isinstance(value, float) or key in VERDICT}
    tags = {f"verdict.{key}": str(value)[:MOST_CHARACTERS] for key, value in shown.items()}
    tags |= TAGS | {"study": study.study_id, "mlflow.note.content": note(study)}
    experiment = client.create_experiment(project, store, tags)
    lost = ""
    for run in study.runs:
        made = _send(client, experiment, run)
        try:
            for name, text in {**files(run), "experiments.json": experiments(run)}.items() if not lost else ():
                client.log_text(made, text, name)
        except Exception as error:  # of the store of files, which many servers do not have
            lost = f"; programs and scripts were not sent: {first_line(error)}"
        status = "FINISHED" if run.succeeded else "KILLED" if run.state in ("running", "interrupted") else "FAILED"
        client.set_terminated(made, status, None if run.ended is None else int(1000 * run.ended))
    if uri.startswith("http"):
        return without_login(f"open {uri.rstrip('/')}/#/experiments/{experiment}{lost}")
    return without_login(f"mlflow ui --backend-store-uri {uri}  # in an environment with all of MLflow{lost}")


def note(study: TrackedStudy) -> str:
    """What is shown above the runs, in Markdown."""
    words = {"verdict": "No verdict yet.", "caveats": "", **study.verdict}
    caveats = "\n".join(f"- {text}" for text in str(words["caveats"]).splitlines())
    return NOTE.format(name=study.name, verdict=words["verdict"], caveats=caveats)


def _send(client: Any, experiment: str, run: TrackedRun) -> str:
    """The id of the run that was made."""
    entities: Any = import_module("mlflow.entities")
    started = None if run.started is None else int(1000 * run.started)
    made: str = client.create_run(experiment, started, {"run_id": run.run_id} | SOURCE, run.name).info.run_id
    params = [entities.Param(key, str(value)) for key, value in run.settings.items()]
    tags = [entities.RunTag(key, value[:MOST_CHARACTERS]) for key, value in run.facts.items()]
    client.log_batch(made, params=params, tags=tags)
    metrics = [
        entities.Metric(key, value, int(1000 * (step.at or 0)), step.number)
        for step in run.steps
        for key, value in step.values.items()
    ]
    ended = int(1000 * (run.ended or 0))
    metrics += [entities.Metric(f"run.{key}", value, ended, 0) for key, value in run.figures.items()]
    for first in range(0, len(metrics), MOST_METRICS):
        client.log_batch(made, metrics=metrics[first : first + MOST_METRICS])
    return made


def experiments(run: TrackedRun) -> str:
    """What each experiment tried and gave, as the table that MLflow shows."""
    keys = list(dict.fromkeys(key for step in run.steps for key in (*step.words, *step.values)))
    data = [[step.number, *({**step.words, **step.values}.get(key) for key in keys)] for step in run.steps]
    return json.dumps({"columns": ["step", *keys], "data": data}, indent=1)
