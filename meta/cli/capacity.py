"""How many runs this machine carries at a time, and on how many devices each."""

from __future__ import annotations

import os

from analysis.wording import many
from meta.planned_work import PlannedWork
from programs.errors import UsageError

WORKERS_A_CORE, LEAST_MOST_WORKERS = 4, 8  # more workers are taken for a typing error


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(requested: int | None, devices: int = 1) -> int:
    """Number of worker processes, one run each: the requested number, or one for every ``devices`` cores.

    Raises UsageError for more than this machine can carry.
    """
    from arena.settings import MOST_WORKERS

    here = cores()
    most = min(MOST_WORKERS, max(LEAST_MOST_WORKERS, WORKERS_A_CORE * here))
    machine = f"this machine has {many(here, 'core')}"
    if requested is not None and requested > most:
        hint = f"-j {here}; more workers than cores are not faster, and each loads torch"
        raise UsageError(f"-j {requested}: {machine}, {most} workers at most", hint=hint)
    workers = requested or max(1, here // devices)
    if devices > most or workers * devices > most:
        raise UsageError(
            f"{many(workers, 'run')} at a time on {many(devices, 'device')} each: {machine}, {most} experiments at a "
            "time at most",
            hint="lower -j or --set devices_per_run=N; each device loads torch",
        )
    return workers


def workers_text(workers: int, devices: int) -> str:
    """``2 workers``; with several devices ``2 runs at a time on 4 devices each``."""
    if devices == 1:
        return many(workers, "worker")
    return f"{many(workers, 'run')} at a time on {devices} devices each"


def slowdown(processes: int) -> float:
    """How many times as long so many processes take beside what the machine is doing now, as its load tells."""
    return max(1.0, (os.getloadavg()[0] + processes) / max(cores(), processes))


def crowd(plan: PlannedWork) -> str:
    """A warning for a plan that uses more devices than there are cores; else empty."""
    devices, here = int(plan.get("devices_per_run", 1)), cores()
    if devices == 1 or plan.get("workers", 1) * devices <= here:
        return ""
    return (
        f"{workers_text(plan['workers'], devices)}: {plan['workers'] * devices} experiments share "
        f"{many(here, 'core')}; this is not faster, and the cost in CPU-seconds is the same"
    )
