"""TensorBoard: a folder of events for each run, PROJECT/PURPOSE/PROGRAM/RUN, experiments as steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.trackers.contract import KILLED, InFolder, Step, TrackedRun, Verdict, markdown, needed


class TensorBoard(InFolder):
    def __init__(self, folder: Path) -> None:
        needed("tensorboard", "tensorboard")
        self.folder, self.where = folder, f"tensorboard --logdir {folder}"
        self._open: dict[str, Any] = {}

    def begin(self, project: str, study_id: str) -> None:
        super().begin(project, study_id)
        self._runs = self.runs_of(project)

    def start(self, run: TrackedRun) -> None:
        writer = self._open[run.run_id] = self._writer(run.path)
        writer.add_text("settings", f"```json\n{json.dumps(dict(run.settings), indent=1)}\n```")

    def _writer(self, path: str) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._runs / path))

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

    def conclude(self, verdict: Verdict) -> None:
        writer = self._writer("verdict")
        writer.add_text("verdict", markdown(verdict))
        for key, value in verdict.items():
            if isinstance(value, float):
                writer.add_scalar(f"verdict/{key}", value, 0)
        writer.close()

    def close(self) -> None:
        for writer in self._open.values():
            writer.add_text("facts", f'```json\n{{"state": "{KILLED}"}}\n```')
            writer.close()


def make(folder: Path) -> TensorBoard:
    return TensorBoard(folder)
