"""How many runs work at once on this machine, and on how many devices each: the numbers, and how they are told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from analysis.wording import many
from meta.planned_work import PlannedWork
from programs.errors import UsageError

if TYPE_CHECKING:
    pass

WORKERS_A_CORE, LEAST_MOST_WORKERS = 4, 8  # more are a slip of the finger


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(asked: int | None, devices: int = 1) -> int:
    """Worker processes, a run each: as many as asked, or as many as the cores carry with ``devices`` for each run.

    Raises UsageError for more than this machine can bear.
    """
    from arena.settings import MOST_WORKERS

    here = cores()
    most = min(MOST_WORKERS, max(LEAST_MOST_WORKERS, WORKERS_A_CORE * here))
    machine = f"this machine has {many(here, 'core')}"
    if asked is not None and asked > most:
        hint = f"-j {here}; more workers than cores make nothing faster, and each holds torch"
        raise UsageError(f"-j {asked}: {machine}, {most} workers at most", hint=hint)
    found = asked or max(1, here // devices)
    if devices > most or found * devices > most:
        raise UsageError(
            f"{many(found, 'run')} of {many(devices, 'device')} at a time: {machine}, {most} experiments at a time "
            "at most",
            hint="give fewer of -j or of --devices-per-run; each device holds torch",
        )
    return found


def told(workers: int, devices: int) -> str:
    """``2 workers``; with several devices ``2 runs at a time, of 4 devices each``."""
    if devices == 1:
        return many(workers, "worker")
    return f"{many(workers, 'run')} at a time, of {devices} devices each"


def crowd(plan: PlannedWork) -> str:
    """What to say of a plan whose runs take more devices than there are cores; else empty."""
    devices, here = int(plan.get("devices_per_run", 1)), cores()
    if devices == 1 or plan.get("workers", 1) * devices <= here:
        return ""
    return (
        f"{told(plan['workers'], devices)}: {plan['workers'] * devices} experiments share {many(here, 'core')}; that "
        "makes nothing faster, and charges are CPU-seconds all the same"
    )
