"""The hardware class: experiments are compared, and outcomes are cached, only within one."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from trainer.gpus import Device, usable


@cache
def hardware_class(device: Device = "cpu") -> str:
    """What a warm template trains on: ``cpu:AMD EPYC 7B13/1 thread``, or for ``device`` gpu the GPU with its memory and
    versions. A machine with GPUs of several kinds names each: no experiment says beforehand which one it will get."""
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
