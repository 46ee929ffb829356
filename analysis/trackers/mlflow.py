"""MLflow: one run for each run, in an experiment of the project's name; local SQLite without MLFLOW_TRACKING_URI."""

from __future__ import annotations

import json
import logging
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from analysis.trackers.contract import (
    TrackedRun,
    TrackedStudy,
    Tracker,
    Verdict,
    bare,
    client_errors,
    needed,
    one_line,
    require_answer,
)
from programs.errors import UsageError

MOST_METRICS = 900  # in one request; the server takes 1,000
VARIABLE = "MLFLOW_TRACKING_URI"
MOST_CHARACTERS = 5000  # of a tag
CLASSIC = {
    "mlflow.experimentKind": "custom_model_development",  # opens the table of runs
    "mlflow.experiment.primaryMetric.name": "run.verified_gain",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}
SOURCE = {"mlflow.source.name": "metaloop", "mlflow.source.type": "LOCAL"}
DATABASES = ("sqlite", "mysql", "postgresql", "mssql")
NOTE = "mlflow.note.content"
VERDICT = ("winner", "champion", "reference", "unit", "headline")  # beside its numbers


class Mlflow(Tracker):
    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for --json
        tracking: Any = needed("mlflow.tracking", "mlflow")
        self._entities: Any = needed("mlflow.entities", "mlflow")
        for name, value in (("MAX_RETRIES", "5"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "30")):  # else minutes
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri, self._files = os.environ.get(VARIABLE, ""), None
        if uri:
            require_answer(uri, VARIABLE)
            known = ("http", "https", "databricks", *DATABASES, *entry_points(group="mlflow.tracking_store").names)
            if uri.partition(":")[0].partition("+")[0].lower() not in known:  # the client takes it for a folder
                what = f"{VARIABLE}={bare(uri)} is not an address; use http://HOST:PORT or sqlite:///FILE"
                raise UsageError(what, hint=f"correct {VARIABLE}")
            path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
            if uri.startswith("sqlite:///") and not path.parent.is_dir():  # the client tries again for minutes
                raise UsageError(f"{VARIABLE}={uri}: there is no folder {path.parent}", hint=f"correct {VARIABLE}")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            uri, self._files = f"sqlite:///{folder.resolve() / 'mlflow.db'}", (folder.resolve() / "files").as_uri()
        self.where = viewer(bare(uri))
        with client_errors(f"{VARIABLE}={bare(uri)}"):
            self._client = tracking.MlflowClient(tracking_uri=uri)
            if uri.startswith("databricks"):  # the client has no look at them before its first request
                logging.getLogger("mlflow.utils.databricks_utils").setLevel(logging.ERROR)
                needed("mlflow.utils.databricks_utils", "mlflow").get_databricks_host_creds(uri)
        self._experiment = ""
        self._takes_files = True

    def has(self, project: str) -> bool:
        return self._client.get_experiment_by_name(project) is not None  # one that was deleted keeps its name, too

    def begin(self, project: str, study: TrackedStudy) -> None:
        tags = CLASSIC | {"study": study.study_id, NOTE: study.note}
        self._experiment = self._client.create_experiment(project, self._files, tags)
        if self.where.startswith("open http"):
            self.where = f"open {bare(self._client.tracking_uri).rstrip('/')}/#/experiments/{self._experiment}"

    def send(self, run: TrackedRun) -> None:
        started = None if run.started is None else int(1000 * run.started)
        made = self._client.create_run(self._experiment, started, {"run_id": run.run_id} | SOURCE, run.name)
        made_id, at = made.info.run_id, int(1000 * (run.measured or 0))
        params = [self._entities.Param(key, str(value)) for key, value in run.settings.items()]
        tags = [self._entities.RunTag(key, value[:MOST_CHARACTERS]) for key, value in run.facts.items()]
        self._client.log_batch(made_id, params=params, tags=tags)
        metrics = [
            self._entities.Metric(key, value, int(1000 * (step.at or 0)), step.number)
            for step in run.decided
            for key, value in step.values.items()
        ]
        metrics += [self._entities.Metric(f"run.{key}", value, at, 0) for key, value in run.figures.items()]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(made_id, metrics=metrics[first : first + MOST_METRICS])
        self._send_files(run, made_id)
        status = "FINISHED" if run.succeeded else "FAILED" if run.is_over else "KILLED"
        self._client.set_terminated(made_id, status, None if run.ended is None else int(1000 * run.ended))

    def _send_files(self, run: TrackedRun, made_id: str) -> None:
        try:
            files = {**run.files(), "experiments.json": experiments(run)} if self._takes_files else {}
            for name, text in files.items():
                self._client.log_text(made_id, text, name)
        except Exception as error:  # of the store of files, which many servers do not have
            self._takes_files = False
            self.left_out = f"programs and scripts were not sent, everything else was: {one_line(error)}"

    def conclude(self, verdict: Verdict) -> None:
        for key, value in verdict.items():
            if isinstance(value, float) or key in VERDICT:
                self._client.set_experiment_tag(self._experiment, f"verdict.{key}", str(value)[:MOST_CHARACTERS])


def experiments(run: TrackedRun) -> str:
    """What each experiment tried and gave, as the table that MLflow shows."""
    keys = list(dict.fromkeys(key for step in run.steps for key in step.values))
    words = [[step.number, step.status, step.decision, step.description] for step in run.steps]
    data = [[*row, *(step.values.get(key) for key in keys)] for row, step in zip(words, run.steps, strict=True)]
    return json.dumps({"columns": ["step", "status", "decision", "description", *keys], "data": data}, indent=1)


def viewer(uri: str) -> str:
    """How to look at a store: the extra has only MLflow's client, so its viewer needs an environment of its own."""
    if uri.startswith(DATABASES):
        return f"mlflow ui --backend-store-uri {uri}  # in an environment with all of MLflow: docs/trackers.md"
    return f"open {uri}"


def make(folder: Path) -> Mlflow:
    return Mlflow(folder)
