"""MLflow: one run for each run, in an experiment of the study's name; local SQLite without MLFLOW_TRACKING_URI.

A run that the store has already, by its tag `run_id`, is updated. Times are those of the ledger, so that a figure that
is sent twice is stored once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from analysis.trackers.contract import KILLED, Step, TrackedRun, Tracker, Verdict, needed
from analysis.trackers.service import PORTS, bare, client_errors, one_line, require_address, require_answer
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
STORES = ("sqlite:", "mysql", "postgresql", "mssql", "file:", "/", ".")
NOTE = "mlflow.note.content"
VERDICT = ("winner", "champion", "reference", "unit", "headline")  # beside its numbers
SENT = "sent"  # the tag of a run that was sent whole


class Mlflow(Tracker):
    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for --json
        tracking: Any = needed("mlflow.tracking", "mlflow")
        self._entities: Any = needed("mlflow.entities", "mlflow")
        # else minutes where a server is gone
        for name, value in (("MAX_RETRIES", "5"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "30")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri, self._files = os.environ.get(VARIABLE, ""), None
        if uri:
            self.address = f"{VARIABLE}={bare(uri)}"
            self.variables = f"{VARIABLE}={shlex.quote(uri)} " if bare(uri) == uri else ""  # no password on a screen
            if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() != "true":  # else a path is an address
                require_address(uri, VARIABLE, stores(), "http://HOST:PORT or sqlite:///FILE")
            require_answer(uri, VARIABLE)
            path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
            if uri.startswith("sqlite:///") and not path.parent.is_dir():  # the client tries again for minutes
                raise UsageError(f"{self.address}: there is no folder {path.parent}", hint=f"correct {VARIABLE}")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            uri, self._files = f"sqlite:///{folder.resolve() / 'mlflow.db'}", (folder.resolve() / "files").as_uri()
        self.where = viewer(bare(uri))
        with client_errors(self.address or str(folder), UsageError):
            self._client = tracking.MlflowClient(tracking_uri=uri)
            if uri.startswith("databricks"):  # the client has no look at them before its first request
                logging.getLogger("mlflow.utils.databricks_utils").setLevel(logging.ERROR)
                needed("mlflow.utils.databricks_utils", "mlflow").get_databricks_host_creds(uri)
        self._experiment, self._runs = "", dict[str, str]()
        self._sent: dict[str, str] = {}  # run → digest of what it was sent with
        self._open: set[str] = set()
        self._takes_files = True

    def owner(self, project: str) -> str | None:
        there = self._client.get_experiment_by_name(project)
        if there is None:
            return None
        if there.lifecycle_stage == "active":
            if owner := there.tags.get("study"):
                return str(owner)
            if not self._client.search_runs([there.experiment_id], max_results=1):
                return None
        return ""  # runs of unknown origin, or an experiment that was deleted

    def begin(self, project: str, study_id: str) -> None:
        there = self._client.get_experiment_by_name(project)
        made = there and there.experiment_id
        self._experiment = made or self._client.create_experiment(project, self._files, CLASSIC | {"study": study_id})
        self._client.set_experiment_tag(self._experiment, "study", study_id)
        self._runs = self._known()
        if self.where.startswith("open http"):
            self.where = f"open {bare(self._client.tracking_uri).rstrip('/')}/#/experiments/{self._experiment}"

    def _known(self) -> dict[str, str]:
        """run → MLflow's id of it, of all that the experiment has."""
        runs, page = dict[str, str](), None
        while page != "":
            runs_page = self._client.search_runs([self._experiment], max_results=1000, page_token=page)
            for run in runs_page:
                if known := run.data.tags.get("run_id"):
                    runs[known], self._sent[known] = run.info.run_id, run.data.tags.get(SENT, "")
            page = runs_page.token or ""
        return runs

    def has(self, run: TrackedRun) -> bool:
        return self._sent.get(run.run_id) == digest(run)

    def start(self, run: TrackedRun) -> None:
        if known := self._runs.get(run.run_id):
            self._client.update_run(known, status="RUNNING")
        else:
            named = {key: run.facts[key] for key in ("study_name",) if key in run.facts}  # for filters of live runs
            at = None if run.started is None else int(1000 * run.started)
            made = self._client.create_run(self._experiment, at, {"run_id": run.run_id} | SOURCE | named, run.name)
            self._runs[run.run_id] = made.info.run_id
        params = [self._entities.Param(key, str(value)) for key, value in run.settings.items()]
        self._client.log_batch(self._runs[run.run_id], params=params)
        self._open.add(run.run_id)

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        metrics = [
            self._entities.Metric(key, value, int(1000 * (step.at or 0)), step.number)
            for step in steps
            for key, value in step.values.items()
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._runs[run.run_id], metrics=metrics[first : first + MOST_METRICS])

    def end(self, run: TrackedRun) -> None:
        opened, at = self._runs[run.run_id], int(1000 * (run.measured or 0))
        metrics = [self._entities.Metric(f"run.{key}", value, at, 0) for key, value in run.figures.items()]
        tags = [self._entities.RunTag(key, value[:MOST_CHARACTERS]) for key, value in run.facts.items()]
        self._client.log_batch(opened, metrics=metrics, tags=tags)
        self._send_files(run)
        ended = None if run.ended is None else int(1000 * run.ended)
        if self._takes_files:
            self._client.set_tag(opened, SENT, digest(run))
        self._client.set_terminated(opened, "FINISHED" if run.state in ("finished", "imported") else "FAILED", ended)
        self._open.discard(run.run_id)

    def _send_files(self, run: TrackedRun) -> None:
        try:
            files = {**run.files(), "experiments.json": experiments(run)} if self._takes_files else {}
            for name, text in files.items():
                self._client.log_text(self._runs[run.run_id], text, name)
        except Exception as error:  # of the store of files, which many servers do not have
            self._takes_files = False
            self.left_out = f"programs and scripts were not sent, everything else was: {one_line(error)}"
            if "mlflow-artifacts" in str(error):  # the store was a server's before
                self.left_out += f"; its files are sent through that server only: set {VARIABLE} to its address"

    def describe(self, note: str) -> None:
        self._client.set_experiment_tag(self._experiment, NOTE, note)

    def conclude(self, verdict: Verdict) -> None:
        shown = {key: str(value) for key, value in verdict.items() if isinstance(value, float) or key in VERDICT}
        there = self._client.get_experiment(self._experiment).tags
        earlier = [tag.removeprefix("verdict.") for tag in there if tag.startswith("verdict.")]
        for key, value in {**dict.fromkeys(earlier, ""), **shown}.items():  # not all servers can delete such a tag
            self._client.set_experiment_tag(self._experiment, f"verdict.{key}", value[:MOST_CHARACTERS])

    def close(self) -> None:
        for run_id in self._open:
            self._client.set_tag(self._runs[run_id], "state", KILLED)
            self._client.set_terminated(self._runs[run_id], status="KILLED")


def digest(run: TrackedRun) -> str:
    return hashlib.sha256(repr((run.result, dict(run.settings))).encode()).hexdigest()[:12]


def experiments(run: TrackedRun) -> str:
    """What each experiment tried and gave, as the table that MLflow shows."""
    keys = list(dict.fromkeys(key for step in run.steps for key in step.values))
    words = [[step.number, step.status, step.decision, step.description] for step in run.steps]
    data = [[*row, *(step.values.get(key) for key in keys)] for row, step in zip(words, run.steps, strict=True)]
    return json.dumps({"columns": ["step", "status", "decision", "description", *keys], "data": data}, indent=1)


def stores() -> list[str]:
    """What the address of a store may begin with; installed packages add some."""
    return ["http", "https", "sqlite", "databricks", *PORTS, *entry_points(group="mlflow.tracking_store").names]


def viewer(uri: str) -> str:
    """How to look at a store: the extra has only MLflow's client, so its viewer needs an environment of its own."""
    if uri.startswith(STORES):
        return f"mlflow ui --backend-store-uri {uri}  # in an environment with all of MLflow: docs/trackers.md"
    return f"open {uri}"


def make(folder: Path) -> Mlflow:
    return Mlflow(folder)
