"""Outcome: the result of one experiment; and a cache of them, so that nothing is trained twice."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from programs.common.errors import EnvironmentProblem
from trainer.user_files import private_folder

if TYPE_CHECKING:
    from pydantic import JsonValue

Status = Literal["ok", "crash", "timeout", "oom", "invalid", "fault"]
Trust = Literal["unverified", "self-reported", "scored", "verified"]  # weakest first


@dataclass(frozen=True)
class Outcome:
    """Times are in seconds, the metric is in the task's unit.

    ``device_seconds_charged``: the charge to the run. On a CPU it is the measured CPU time minus the launcher's
    constant, at least the wall time over the task's wall_factor (so that sleep is not free); on a GPU it is wall time
    from launch to score; in fixed-step mode it is nominal. ``device_seconds_spent``: the actual time on this machine,
    minus the same constant; 0 if cached. ``training_seconds`` and ``prediction_seconds``: CPU-seconds of train.py and
    of the longest process that predicted whole rows, minus the constant; None without one, and on a GPU.
    ``peak_memory_mb``: of the largest process, or of the GPU as sampled from outside. ``constraints``: the value of
    each constraint of the task that was measured. ``splits``: the metric on each of several hidden splits, by its
    label; the metric is then their mean; ``further_seconds``: the part of ``device_seconds_spent`` for all but the
    first. ``rows``: the name of the values of rows behind the metric (`trainer.rows.RowStore`). ``started_at``: UTC;
    ``began``, ``ended``: seconds of the monotonic clock, without waiting for a device.
    """

    status: Status
    metric: float | None
    device_seconds_charged: float
    device_seconds_spent: float
    wall_seconds: float
    steps: int | None = None
    peak_memory_mb: float = 0.0
    reason: str = ""
    log: str = ""
    trust: Trust = "unverified"
    cached: bool = False
    utilization: float | None = None  # of a GPU: mean share of the time in which a kernel ran, 0 to 1
    training_seconds: float | None = None
    prediction_seconds: float | None = None
    findings: tuple[str, ...] = ()  # remarks of the referee, one line each: "metering: …", "leak: …"
    constraints: Mapping[str, float] = field(default_factory=dict, hash=False)
    splits: Mapping[str, float] = field(default_factory=dict, hash=False)
    rows: str | None = None
    further_seconds: float = 0.0
    started_at: str = field(default="", compare=False)
    began: float = field(default=0.0, compare=False)
    ended: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, JsonValue]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """Raises TypeError for other fields, as another version had."""
        return cls(**{**data, "findings": tuple(data["findings"])})


class Cache:
    """One small JSON file per outcome; workers of one machine share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str) -> Path:
        return self.folder / key[:3] / f"{key}.json"

    def get(self, key: str) -> Outcome | None:
        """The stored outcome; None if there is none, or if its file is damaged."""
        try:
            return Outcome.from_json(json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Store an outcome atomically, by renaming a complete file. EnvironmentProblem if that fails."""
        path = self._path(key)
        try:
            private_folder(path.parent)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                json.dump(outcome.to_json(), file)
            os.replace(file.name, path)
        except OSError as error:
            message = f"{path.parent}: cannot write: {error.strerror}"
            raise EnvironmentProblem(message, hint="free space or choose another folder") from None
