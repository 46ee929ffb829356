"""Trackio: one run for each run, in a project of the study's name, in a local SQLite database."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import KILLED, InFolder, Step, TrackedRun, Verdict, markdown, needed


class Trackio(InFolder):
    def __init__(self, folder: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(folder.resolve())  # read when trackio is imported
        self._trackio: Any = needed("trackio", "trackio")
        self._storage: Any = needed("trackio.sqlite_storage", "trackio").SQLiteStorage
        self.project, self.study_id, self.folder = "", "", folder
        self._open: dict[str, Any] = {}

    def runs_of(self, project: str) -> Path:
        return Path(self._storage.get_project_db_path(project))

    def begin(self, project: str, study_id: str) -> None:
        super().begin(project, study_id)
        self.project, self.study_id = project, study_id
        self.where = f"TRACKIO_DIR={self.folder.resolve()} trackio show --project {project}"

    def start(self, run: TrackedRun) -> None:
        config = {**run.settings, "run_name": run.name, "run_id": run.run_id}
        self._open[run.run_id] = self._init(run.path, str(run.settings.get("purpose", "")), config)

    def _init(self, name: str, group: str, config: Mapping[str, str | int | float]) -> Any:
        with _quiet():
            return self._trackio.init(
                project=self.project, name=name, group=group, config=dict(config), resume="allow", embed=False
            )

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        for step in steps:
            remarks = {"status": step.status, "decision": step.decision, "description": step.description}
            self._open[run.run_id].log({**step.values, **remarks}, step=step.number)

    def end(self, run: TrackedRun) -> None:
        opened = self._open.pop(run.run_id)
        opened.log({**{f"run/{key}": value for key, value in run.figures.items()}, **run.facts})
        with _quiet():
            opened.finish()

    def conclude(self, verdict: Verdict) -> None:
        opened = self._init("verdict", "verdict", {"study": self.study_id, **verdict})
        opened.log({**verdict, "text": markdown(verdict)})
        with _quiet():
            opened.finish()

    def close(self) -> None:
        with _quiet():
            for opened in self._open.values():
                opened.log({"state": KILLED})
                opened.finish()
        self._trackio.context_vars.current_run.set(None)  # it would be finished once more when the process ends


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """It greets at every run."""
    return contextlib.redirect_stdout(io.StringIO())


def make(folder: Path) -> Trackio:
    return Trackio(folder)
