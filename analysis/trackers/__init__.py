"""Writes a study into the tools that teams keep their results in: one file for each tool."""

from collections.abc import Callable
from pathlib import Path

from analysis.trackers.contract import Files, InFolder, Step, TrackedRun, TrackedStudy, Tracker
from analysis.trackers.reading import RunSources, program_alone, tracked
from analysis.trackers.sender import Sender, project_for
from analysis.trackers.service import client_errors, retries_said
from programs.registry import Registry

__all__ = [
    "TRACKERS",
    "Files",
    "InFolder",
    "RunSources",
    "Sender",
    "Step",
    "TrackedRun",
    "TrackedStudy",
    "Tracker",
    "client_errors",
    "program_alone",
    "project_for",
    "retries_said",
    "tracked",
]

TRACKERS: Registry[Callable[[Path], Tracker]] = Registry("trackers", "analysis.trackers", ("folder",))
