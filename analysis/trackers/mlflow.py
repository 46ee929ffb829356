"""MLflow: one run for each run, in an experiment of the study's name; local SQLite without MLFLOW_TRACKING_URI."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import Step, TrackedRun, needed

MOST_METRICS = 900  # in one request; the server takes 1,000


class Mlflow:
    def __init__(self, study: str, folder: Path) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        tracking: Any = needed("mlflow.tracking", "mlflow")
        self._entities: Any = needed("mlflow.entities", "mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        self.where = f"mlflow ui --backend-store-uri {uri}"
        self._client = tracking.MlflowClient(tracking_uri=uri)
        there = self._client.get_experiment_by_name(study)
        files = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder.resolve() / "files").as_uri()
        self._experiment = there.experiment_id if there else self._client.create_experiment(study, files)
        self._open: dict[str, str] = {}

    def start(self, run: TrackedRun) -> None:
        made = self._client.create_run(self._experiment, run_name=run.name, tags={"run_id": run.run_id})
        self._open[run.run_id] = made.info.run_id
        params = [self._entities.Param(key, str(value)) for key, value in run.settings.items()]
        self._client.log_batch(made.info.run_id, params=params)

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._entities.Metric(key, value, now, step.number) for step in steps for key, value in step.values.items()
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._open[run.run_id], metrics=metrics[first : first + MOST_METRICS])

    def end(self, run: TrackedRun) -> None:
        opened = self._open.pop(run.run_id)
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(f"run.{key}", value, now, 0) for key, value in run.figures.items()]
        tags = [self._entities.RunTag("state", run.state), self._entities.RunTag("reason", run.reason[:5000])]
        self._client.log_batch(opened, metrics=metrics, tags=tags)
        self._client.set_terminated(opened, status="FINISHED" if run.state == "finished" else "FAILED")

    def close(self) -> None:
        for opened in self._open.values():
            self._client.set_terminated(opened, status="KILLED")


def make(study: str, folder: Path) -> Mlflow:
    return Mlflow(study, folder)
