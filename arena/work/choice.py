"""Where the jobs of a command run. This is a choice of the command, not of its study, which may resume elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from programs.common.registry import Registry

if TYPE_CHECKING:
    from trainer.gpu import Device

VARIABLE = "METALOOP_EXECUTOR"  # names the executor, of this process and those that it starts
# A `make` may have two methods beside the call: `check()` raises UsageError where jobs cannot be carried out so, and
# `hardware(device)` returns the hardware class of the machines, where they are others than this one.
EXECUTORS: Registry[Callable[..., Any]] = Registry(
    "executors", "arena.work.executors", ("study", "progress", "tasks"), first=("local", "ray")
)


def chosen() -> str:
    return os.environ.get(VARIABLE) or "local"


def require_chosen() -> None:
    """Raise NotFound for an executor that there is not, UsageError for one that is not installed."""
    if check := getattr(EXECUTORS.get(chosen()), "check", None):
        check()


def hardware_of_jobs(device: Device = "cpu") -> str:
    """The hardware class of a new study's jobs on that device: this machine's, or that of a cluster."""
    from trainer.gpu import hardware_class

    hardware = getattr(EXECUTORS.get(chosen()), "hardware", None)
    return (hardware and hardware(device)) or hardware_class(device)


def on_cluster() -> bool:
    """Whether jobs go to other machines."""
    return hasattr(EXECUTORS.get(chosen()), "hardware")
