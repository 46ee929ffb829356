"""Where the jobs of a command run. This is a choice of the command, not of its study, which may resume elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from trainer.gpus import Device

from programs.errors import UsageError

VARIABLE = "METALOOP_EXECUTOR"  # what `--executor` sets, for this process and those that it starts
Kind = Literal["local", "ray"]
KINDS: tuple[Kind, ...] = ("local", "ray")


def choose(kind: str | None) -> None:
    """Set the executor that a command names; None is this machine. Raises UsageError where it is not installed."""
    if kind == "ray":
        from arena.cluster.connect import require

        require()
    os.environ[VARIABLE] = kind or "local"


def hardware_of_jobs(device: Device = "cpu") -> str:
    """The hardware class of a new study's jobs on that device: this machine's, or what most of a cluster is."""
    from trainer.hardware import hardware_class

    if not on_cluster():
        return hardware_class(device)
    if device == "gpu":
        raise UsageError("a GPU task cannot run on a cluster", hint="leave out --executor ray")
    from arena.cluster.nodes import common_hardware

    return common_hardware() or hardware_class(device)


def on_cluster() -> bool:
    """Whether jobs go to a Ray cluster."""
    return os.environ.get(VARIABLE) == "ray"
