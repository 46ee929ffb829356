"""Trackio: one run for each run, in a project of the study's name, in a local SQLite database."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import Step, TrackedRun, Tracker, needed, there_already


class Trackio(Tracker):
    def __init__(self, study: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read when trackio is imported
        self._trackio: Any = needed("trackio", "trackio")
        self.study = study
        self.where = f"TRACKIO_DIR={os.environ['TRACKIO_DIR']} trackio show --project {study}"
        self._open: dict[str, Any] = {}
        storage: Any = needed("trackio.sqlite_storage", "trackio")
        self._earlier = set(storage.SQLiteStorage.get_runs(study))

    def start(self, run: TrackedRun) -> None:
        if run.run_id in self._earlier:
            raise there_already(os.environ["TRACKIO_DIR"], self.study, "Trackio")
        with _quiet():
            self._open[run.run_id] = self._trackio.init(
                project=self.study,
                name=run.run_id,
                group=str(run.settings.get("purpose", "")),
                config={**run.settings, "run_name": run.name},
                resume="allow",
                embed=False,
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

    def close(self) -> None:
        with _quiet():
            for opened in self._open.values():
                opened.finish()
        self._trackio.context_vars.current_run.set(None)  # it would be finished once more when the process ends


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """It greets at every run."""
    return contextlib.redirect_stdout(io.StringIO())


def make(study: str, folder: Path) -> Trackio:
    return Trackio(study, folder)
