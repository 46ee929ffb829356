"""Where the jobs of a command run. This is a choice of the command, not of its study, which may resume elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from programs.registry import Registry

if TYPE_CHECKING:
    from trainer.gpu import Device

VARIABLE = "METALOOP_EXECUTOR"  # what `--set executor=NAME` sets, for this process and those that it starts
# A `make` may have two methods beside the call: `check()` raises UsageError where jobs cannot be carried out so, and
# `hardware(device)` returns the hardware class of the machines, where they are others than this one.
EXECUTORS: Registry[Callable[..., Any]] = Registry(
    "executors", "arena.executors", ("study", "progress", "tasks"), first=("local", "ray")
)


def choose(name: str | None) -> None:
    """Set the executor of a command; None is this machine. Raises NotFound, or UsageError if not installed."""
    if name and (check := getattr(EXECUTORS.get(name), "check", None)):
        check()
    os.environ[VARIABLE] = name or "local"


def chosen() -> str:
    return os.environ.get(VARIABLE) or "local"


def hardware_of_jobs(device: Device = "cpu") -> str:
    """The hardware class of a new study's jobs on that device: this machine's, or what most of a cluster is."""
    from trainer.gpu import hardware_class

    there = getattr(EXECUTORS.get(chosen()), "hardware", None)
    return (there and there(device)) or hardware_class(device)


def on_cluster() -> bool:
    """Whether jobs go to other machines."""
    return hasattr(EXECUTORS.get(chosen()), "hardware")
