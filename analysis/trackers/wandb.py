"""Weights & Biases: one run for each run, in a group for each match. Offline unless WANDB_MODE=online."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import Step, TrackedRun, needed


class Wandb:
    def __init__(self, study: str, folder: Path) -> None:
        self._wandb: Any = needed("wandb", "wandb")
        self.study, self.folder = study, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.mode = os.environ.get("WANDB_MODE", "offline")
        self.where = f"wandb sync {folder}/wandb/offline-run-*" if self.mode == "offline" else f"W&B project {study}"
        self._open: dict[str, Any] = {}

    def start(self, run: TrackedRun) -> None:
        settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
        self._open[run.run_id] = self._wandb.init(
            project=self.study,
            id=run.run_id,
            name=run.name,
            group=str(run.settings.get("purpose", "")),
            config=dict(run.settings),
            dir=str(self.folder),
            mode=self.mode,
            reinit="create_new",
            settings=settings,
        )

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        for step in steps:
            remarks = {"status": step.status, "decision": step.decision, "description": step.description}
            self._open[run.run_id].log({**step.values, **remarks}, step=step.number)

    def end(self, run: TrackedRun) -> None:
        opened = self._open.pop(run.run_id)
        figures = {f"run/{key}": value for key, value in run.figures.items()}  # a step has a `kept` too
        opened.summary.update({**figures, "state": run.state, "reason": run.reason})
        opened.finish(exit_code=0 if run.state == "finished" else 1)

    def close(self) -> None:
        for opened in self._open.values():
            opened.finish()


def make(study: str, folder: Path) -> Wandb:
    return Wandb(study, folder)
