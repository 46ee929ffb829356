"""Writes a study into the tools that teams keep their results in: one file for each tool."""

from collections.abc import Callable
from pathlib import Path

from analysis.trackers.contract import Files, Step, TrackedRun, TrackedStudy, Tracker
from analysis.trackers.reading import program_alone, tracked
from analysis.trackers.sender import Sender
from programs.registry import Registry

__all__ = [
    "TRACKERS",
    "Files",
    "Sender",
    "Step",
    "TrackedRun",
    "TrackedStudy",
    "Tracker",
    "program_alone",
    "tracked",
]

TRACKERS: Registry[Callable[[str, Path], Tracker]] = Registry("trackers", "analysis.trackers", ("study", "folder"))
