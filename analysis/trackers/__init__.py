"""Writes a study into the tools that teams keep their results in: one file for each tool."""

from collections.abc import Callable
from pathlib import Path

from analysis.trackers.contract import Files, Step, TrackedRun, TrackedStudy, Tracker, client_errors, send
from analysis.trackers.reading import RunSources, program_alone, tracked
from programs.registry import Registry

__all__ = [
    "TRACKERS",
    "Files",
    "RunSources",
    "Step",
    "TrackedRun",
    "TrackedStudy",
    "Tracker",
    "client_errors",
    "program_alone",
    "send",
    "tracked",
]

TRACKERS: Registry[Callable[[Path], Tracker]] = Registry("trackers", "analysis.trackers", ("folder",))
