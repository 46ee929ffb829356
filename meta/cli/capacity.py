"""How many runs this machine carries at a time, and on how many devices each."""

from __future__ import annotations

import os

from analysis.wording import duration, many
from arena.settings import MOST_WORKERS
from meta.kinds.cost import Cost
from programs.errors import UsageError

WORKERS_A_CORE, LEAST_MOST_WORKERS = 4, 8  # more workers are taken for a typing error


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(requested: int | None, devices: int = 1) -> int:
    """Number of worker processes, one run each: the requested number, or one for every ``devices`` cores.

    Raises UsageError for more than this machine can carry.
    """
    available = cores()
    most = min(MOST_WORKERS, max(LEAST_MOST_WORKERS, WORKERS_A_CORE * available))
    machine = f"this machine has {many(available, 'core')}"
    if requested is not None and requested > most:
        hint = f"-j {available}; more workers than cores are not faster, and each loads torch"
        raise UsageError(f"-j {requested}: {machine}, {most} workers at most", hint=hint)
    workers = requested or max(1, available // devices)
    if devices > most or workers * devices > most:
        raise UsageError(
            f"{many(workers, 'run')} at a time on {many(devices, 'device')} each: {machine}, {most} experiments at a "
            "time at most",
            hint="lower -j or --set devices_per_run=N; each device loads torch",
        )
    return workers


def wall(cost: Cost) -> str:
    """``16.8s with 2 workers``, on an idle machine; the time of models and agents cannot be predicted."""
    text = f"{duration(cost.wall_seconds)} with {many(cost.workers, 'worker')}"
    return f"{text}, plus the time of models and agents" if cost.details.get("researcher") else text
