"""Writes a study into the tools that teams keep their results in: one file for each tool."""

from collections.abc import Callable
from pathlib import Path

from analysis.trackers.contract import Sender, Step, TrackedRun, TrackedStudy, Tracker, tracked
from programs.registry import Registry

__all__ = ["TRACKERS", "Sender", "Step", "TrackedRun", "TrackedStudy", "Tracker", "tracked"]

TRACKERS: Registry[Callable[[str, Path], Tracker]] = Registry("trackers", "analysis.trackers", ("study", "folder"))
