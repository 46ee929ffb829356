"""The hardware class: experiments are compared, and outcomes are cached, only within one."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def hardware_class() -> str:
    """What a warm template trains on, e.g. ``cpu:AMD EPYC 7B13/1 thread``."""
    return f"cpu:{_cpu_model()}/1 thread"


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
