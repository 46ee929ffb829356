"""The hardware class: experiments are comparable, and cached outcomes valid, only within the same class."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from trainer.gpu import Device, usable


@cache
def hardware_class(device: Device = "cpu") -> str:
    """The hardware of an experiment: ``cpu:AMD EPYC 7B13/1 thread``, or the GPU with its memory and driver.

    With different GPUs in a machine all are named, because an experiment may run on any of them.
    """
    if device == "cpu":
        return f"cpu:{_cpu_model()}/1 thread"
    return " and ".join(sorted({one.hardware for one in usable()})) or "gpu:none"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model"):
            return " ".join(value.split())
    return platform.machine() or "unknown"
