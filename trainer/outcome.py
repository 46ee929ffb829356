"""Outcome: what became of one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Status = Literal["ok", "crash", "timeout", "oom", "invalid", "fault"]
Trust = Literal["unverified", "scored", "verified", "self-reported"]


@dataclass(frozen=True)
class Outcome:
    """Times in seconds (device-seconds are CPU-seconds on a CPU, wall seconds of the lease on a GPU), the metric in the
    task's unit.

    ``device_seconds`` is what the run is charged: on a CPU measured minus the launcher's constant (at least the wall
    time over the task's wall_factor, so that sleep is not free), on a GPU from launch to score; or nominal in
    fixed-step mode. ``spent_seconds`` is what it truly took on this machine, net of the same constant; 0 if it was
    cached. ``training_seconds`` and ``prediction_seconds`` are CPU-seconds of train.py and of the longest process that
    predicted whole rows, without the constant; None where there is none, and on a GPU. ``peak_memory_mb`` is the
    largest process's, or the GPU's as sampled from outside.
    """

    status: Status
    metric: float | None
    device_seconds: float
    spent_seconds: float
    wall_seconds: float
    steps: int | None = None
    peak_memory_mb: float = 0.0
    reason: str = ""
    log: str = ""
    trust: Trust = "unverified"
    cached: bool = False
    utilization: float | None = None  # of a GPU: mean share of the time in which it computed, 0 to 1
    training_seconds: float | None = None
    prediction_seconds: float | None = None
    findings: tuple[str, ...] = ()  # what the referee noticed, a line each: "metering: …", "leak: …"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        known = {item.name for item in fields(cls)}
        given = {key: value for key, value in data.items() if key in known}
        return cls(**{**given, "findings": tuple(given.get("findings", ()))})
