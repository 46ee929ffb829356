"""Weights & Biases: one run for each run, grouped by the purpose of its match. Offline unless WANDB_MODE=online."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import Step, TrackedRun, Tracker, needed, there_already


class Wandb(Tracker):
    def __init__(self, study: str, folder: Path) -> None:
        self._wandb: Any = needed("wandb", "wandb")
        self.study, self.folder = study, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.mode = os.environ.get("WANDB_MODE", "offline")
        files = f"{folder}/wandb"
        offline = f"wandb leet {files}, or to send them to your account: wandb sync {files}/offline-run-*"
        self.where = offline if self.mode == "offline" else f"W&B project {study}"
        self._open: dict[str, Any] = {}
        self._started: set[str] = set()

    def start(self, run: TrackedRun) -> None:
        fresh = self.mode == "offline" and run.run_id not in self._started
        if fresh and any(self.folder.glob(f"wandb/offline-run-*-{run.run_id}")):
            raise there_already(self.folder, self.study, "W&B in its offline mode")
        self._started.add(run.run_id)
        settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True)
        self._open[run.run_id] = self._wandb.init(
            project=self.study,
            id=run.run_id,
            resume="allow",
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
            time = {} if step.at is None else {"_timestamp": step.at}
            self._open[run.run_id].log({**step.values, **remarks, **time}, step=step.number)

    def end(self, run: TrackedRun) -> None:
        opened = self._open.pop(run.run_id)
        figures = {f"run/{key}": value for key, value in run.figures.items()}  # a step has a `kept` too
        opened.config.update(dict(run.facts), allow_val_change=True)  # W&B groups by what is in the config
        opened.summary.update({**figures, **run.facts})
        opened.finish(exit_code=0 if run.state in ("finished", "imported") else 1)

    def close(self) -> None:
        for opened in self._open.values():
            opened.finish()


def make(study: str, folder: Path) -> Wandb:
    return Wandb(study, folder)
