"""TensorBoard: one folder of events for each run, experiments as steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import Step, TrackedRun, Tracker, needed, there_already


class TensorBoard(Tracker):
    def __init__(self, study: str, folder: Path) -> None:
        needed("tensorboard", "tensorboard")
        self.study, self.folder, self.where = study, folder, f"tensorboard --logdir {folder}"
        self._open: dict[str, Any] = {}
        self._started: set[str] = set()

    def start(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if run.run_id not in self._started and (self.folder / run.run_id).exists():
            raise there_already(self.folder, self.study, "TensorBoard")
        self._started.add(run.run_id)
        writer = self._open[run.run_id] = SummaryWriter(str(self.folder / run.run_id))
        writer.add_text("settings", f"```json\n{json.dumps(dict(run.settings), indent=1)}\n```")

    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None:
        for step in steps:
            for key, value in step.values.items():
                self._open[run.run_id].add_scalar(key, value, step.number, step.at)

    def end(self, run: TrackedRun) -> None:
        writer = self._open.pop(run.run_id)
        for key, value in run.figures.items():
            writer.add_scalar(f"run/{key}", value, 0, run.measured)
        writer.add_text("facts", f"```json\n{json.dumps(dict(run.facts), indent=1)}\n```")
        writer.close()

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()


def make(study: str, folder: Path) -> TensorBoard:
    return TensorBoard(study, folder)
