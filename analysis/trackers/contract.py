"""What a tracker is given: the runs of a study with their experiments, as steps of a curve, and their figures."""

from __future__ import annotations

import fcntl
import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Protocol, TextIO

from programs.errors import UsageError
from trainer.edits import Value

Files = Mapping[str, str]  # name → text
Verdict = Mapping[str, str | float]
STUDIES = "metaloop-studies.json"  # in a folder for a tool: project → the study that it belongs to
KILLED = "killed"  # the state of a run that was still going when the export ended


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
    config: Mapping[str, Value]
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
    def path(self) -> str:
        """Purpose, program and run, for tools that show one path for each run."""
        parts = (str(self.settings.get("purpose") or "run"), self.name.rpartition(" ")[0], self.run_id)
        return "/".join(re.sub(r"[^\w+-]+", "-", part) for part in parts)

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "interrupted")

    def decided(self, last: bool) -> Sequence[Step]:
        """Of a run that is not over, the steps that no later record changes; not ``last``: or precedes."""
        if last:
            return [step for step in self.steps if step.decision]
        for index, step in enumerate(self.steps):
            if not step.decision or step.number != index:
                return self.steps[:index]
        return self.steps

    @property
    def result(self) -> tuple[object, ...]:
        """What is compared to see whether a run has changed since it was sent."""
        return (len(self.steps), dict(self.figures), dict(self.facts))


@dataclass(frozen=True)
class TrackedStudy:
    """A study: its folder, its name for the tool, the hash of its first record (empty before there is one), its runs
    in the order of their starts, what to read above them, in Markdown, and the verdict's fields (none without one)."""

    folder: Path
    name: str
    study_id: str
    runs: Sequence[TrackedRun]
    note: str
    verdict: Verdict


class Tracker(Protocol):
    """Sends runs to a project of a tool. Runs may be open at the same time; steps of a run come in order. A run that
    changed after its `end` is started again, gets its further steps, and is ended again. It is made before the study
    is there, and raises then what is wrong with the client, its server or its credentials."""

    where: str  # how to look at what was written, in one line
    address: str = ""  # of its server, with the variable that names it
    variables: str = ""  # to type before a command that sends to the same server
    left_out: str = ""  # what was not sent, and why
    updates: bool = True  # whether runs that it has can be changed by a later export

    def owner(self, project: str) -> str | None:
        """The id of the study whose runs a project has, empty for other runs; None where it has none."""
        ...

    def begin(self, project: str, study_id: str) -> None: ...

    def has(self, run: TrackedRun) -> bool:
        """Whether an earlier export sent this run as it is now."""
        return False

    def start(self, run: TrackedRun) -> None: ...
    def log(self, run: TrackedRun, steps: Sequence[Step]) -> None: ...
    def end(self, run: TrackedRun) -> None: ...
    def close(self) -> None:
        """Runs that are still open are marked as killed."""

    def conclude(self, verdict: Verdict) -> None:
        """Show the verdict as a summary, where `describe` does not."""
        return None

    def describe(self, note: str) -> None:
        """Show the note above the runs, where the tool has a place for it."""
        return None


def local(seconds: float | None) -> datetime:
    """The time in this machine's zone, for tools that keep no zone; now where it is not known."""
    return datetime.now() if seconds is None else datetime.fromtimestamp(seconds)


def markdown(verdict: Verdict) -> str:
    """The verdict above the runs, with every caveat and note."""
    if not verdict:
        return "No verdict yet."
    points = "".join(f"\n- {text}" for key in ("caveat", "notes") for text in str(verdict[key]).splitlines())
    return f"**{verdict['headline']}.** {verdict['verdict']}\n{points}"


class InFolder(Tracker):
    """A tool whose runs are in a folder and cannot be changed later: a file in it names the study of each project."""

    updates = False
    folder: Path
    _writing: TextIO | None = None

    def _known(self) -> dict[str, str]:
        """Project → study, those that were deleted included."""
        there = self.folder / STUDIES
        return json.loads(there.read_text("utf-8")) if there.is_file() else {}

    def owner(self, project: str) -> str | None:
        return self._known().get(project, "") if self.runs_of(project).exists() else None

    def runs_of(self, project: str) -> Path:
        """The file or folder with all runs of a project and nothing else."""
        return self.folder / project

    def begin(self, project: str, study_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        known = {**self._known(), project: study_id}
        (self.folder / STUDIES).write_text(json.dumps(known, indent=1) + "\n", "utf-8")

    def _lock(self, project: str) -> Path:
        return self.folder / ("." + re.sub(r"[^\w.-]", "-", project) + ".lock")

    def claim(self, project: str) -> None:
        """Keep other exports from writing the project, until `release` or the end of the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writing = self._lock(project).open("w", encoding="utf-8")
        fcntl.flock(self._writing, fcntl.LOCK_EX)

    def is_written(self, project: str) -> bool:
        """Whether another export is writing the project now, such as one that follows the study."""
        if not (lock := self._lock(project)).exists():
            return False
        with lock.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def release(self) -> None:
        """Let other exports write the project."""
        if self._writing is not None:
            Path(self._writing.name).unlink(missing_ok=True)
            self._writing.close()


def needed(module: str, extra: str) -> ModuleType:
    """The client's module. Raises UsageError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--to {extra} needs the package {module.partition('.')[0]} ({error})",
            hint=f"in your clone of Metaloop: pip install -c constraints.txt '.[{extra}]'",
        ) from None
