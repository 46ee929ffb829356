"""What a tracker is given: the runs of a study with their experiments, as steps of a curve, and their figures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from programs.errors import UsageError

Files = Mapping[str, str]  # name → text


@dataclass(frozen=True)
class Step:
    """An experiment of a run. ``at``: when it ended, in seconds since 1970, if that is known. ``values``: `metric`,
    `gain` (`metric_screening`, `gain_screening` of a shorter training), `best_metric` and `best_gain` of the baseline
    and the kept scripts so far, `device_seconds` of the run so far, `kept` (0 or 1); what an experiment does not have,
    a failed one its metric, is left out."""

    experiment_id: str
    number: int
    status: str
    decision: str
    description: str
    at: float | None
    config: Mapping[str, Any]
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A run. ``settings``: what it was given; ``facts``: how it ended, in words (state, reason, trust, ...);
    ``figures``: what came of it, finite numbers only. Times are in seconds since 1970, None where they are not known;
    ``measured``: of its end or its last verification. ``verified``: it has ended, and no verification is to come."""

    run_id: str
    name: str
    state: str
    settings: Mapping[str, str | int | float]
    facts: Mapping[str, str]
    figures: Mapping[str, float]
    steps: Sequence[Step]
    started: float | None
    ended: float | None
    measured: float | None
    verified: bool
    files: Callable[[], Files]  # read when they are sent

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "interrupted")

    def decided(self, last: bool) -> Sequence[Step]:
        """Of a run that is not over, the steps that no later record changes; not ``last``: or precedes."""
        if last:
            return [step for step in self.steps if step.decision]
        for place, step in enumerate(self.steps):
            if not step.decision or step.number != place:
                return self.steps[:place]
        return self.steps

    @property
    def result(self) -> tuple[object, ...]:
        """What is compared to see whether a run has changed since it was sent."""
        return (len(self.steps), dict(self.figures), dict(self.facts))


@dataclass(frozen=True)
class TrackedStudy:
    """A study: its folder, its name for the tool, its runs in the order of their starts, and what to read above
    them, in Markdown."""

    folder: Path
    name: str
    runs: Sequence[TrackedRun]
    note: str = ""


class Tracker(Protocol):
    """Sends runs to a tool. Runs may be open at the same time; steps of a run come in order. A run that changed after
    its `end` is started again, gets its further steps, and is ended again."""

    where: str  # how to look at what was written, in one line

    def start(self, run: TrackedRun) -> None: ...
    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None: ...
    def end(self, run: TrackedRun) -> None: ...
    def close(self) -> None: ...

    def describe(self, note: str) -> None:
        """Show the note above the runs, where the tool has a place for it."""
        return None


def local(seconds: float | None) -> datetime:
    """The time in this machine's zone, for tools that keep no zone; now where it is not known."""
    return datetime.now() if seconds is None else datetime.fromtimestamp(seconds)


def there_already(where: object, study: str, tool: str) -> UsageError:
    """For a tool whose folders cannot be written twice."""
    return UsageError(
        f"{where} already has runs of {study}, and {tool} cannot update them", hint="name a new folder: -o logs-2/"
    )


def needed(module: str, extra: str) -> ModuleType:
    """The client's module. Raises UsageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--to {extra} needs the package {module.partition('.')[0]} ({error})",
            hint=f"in your clone of Metaloop: pip install -c constraints.txt '.[{extra}]'",
        ) from None
