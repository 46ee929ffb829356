"""Trackio: one run for each run, in a local SQLite database of the project's name."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.trackers.contract import TrackedRun, TrackedStudy, Tracker, Verdict, markdown, needed


class Trackio(Tracker):
    def __init__(self, folder: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(folder.resolve())  # read when trackio is imported
        self._trackio: Any = needed("trackio", "trackio")
        self._storage: Any = needed("trackio.sqlite_storage", "trackio").SQLiteStorage
        self._project = self._study_id = ""
        self._folder = folder

    def has(self, project: str) -> bool:
        return Path(self._storage.get_project_db_path(project)).exists()

    def begin(self, project: str, study: TrackedStudy) -> None:
        self._project, self._study_id = project, study.study_id
        self.where = f"TRACKIO_DIR={self._folder.resolve()} trackio show --project {project}"

    def send(self, run: TrackedRun) -> None:
        config = {**run.settings, "run_name": run.name, "run_id": run.run_id}
        with self._run(run.path, str(run.settings.get("purpose", "")), config) as opened:
            for step in run.decided:
                remarks = {"status": step.status, "decision": step.decision, "description": step.description}
                opened.log({**step.values, **remarks}, step=step.number)
            opened.log({**{f"run/{key}": value for key, value in run.figures.items()}, **run.facts})

    def conclude(self, verdict: Verdict) -> None:
        with self._run("verdict", "verdict", {"study": self._study_id, **verdict}) as opened:
            opened.log({**verdict, "text": markdown(verdict)})

    @contextlib.contextmanager
    def _run(self, name: str, group: str, config: Mapping[str, str | int | float]) -> Iterator[Any]:
        quiet = contextlib.redirect_stdout(io.StringIO())  # it greets at every run
        with quiet:
            opened = self._trackio.init(project=self._project, name=name, group=group, config=dict(config), embed=False)
        try:
            yield opened
        finally:
            with quiet:
                opened.finish()
            self._trackio.context_vars.current_run.set(None)  # else it is finished once more when the process ends


def make(folder: Path) -> Trackio:
    return Trackio(folder)
