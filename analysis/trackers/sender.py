"""Sends a study to a tracker, at once or again and again while it grows."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from analysis.trackers.contract import InFolder, TrackedRun, TrackedStudy, Tracker, Verdict
from analysis.wording import many
from programs.errors import UsageError


def project_for(tracker: Tracker, study: TrackedStudy, named: str | None) -> str:
    """The project that a study is sent to: that of the name given, else of its own name, else of its name and id. One
    with other runs is never used."""
    for project in [named] if named else [study.name, f"{study.name}-{study.study_id[:7]}"]:
        owner = tracker.owner(project)
        if owner in (None, study.study_id) and isinstance(tracker, InFolder) and not tracker.updates:
            there = tracker.runs_of(project)
            if tracker.is_written(project):
                what = f"another export is writing {study.name} to {there} now"
                raise UsageError(
                    what, hint="wait until it ends (one with --follow ends with the study), or name another -o"
                )
            if owner:
                what = f"{there} already has runs of {study.name}, which cannot be updated"
                raise UsageError(what, hint=f"delete them first: rm -r {shlex.quote(str(there))}")
        if owner in (None, study.study_id):
            return project
    whose = "runs of another study" if owner else "runs that are not Metaloop's"
    raise UsageError(f"the project {project} has {whose}", hint="name another: --project NAME")


@dataclass
class Sender:
    """Sends to a tracker what it has not been sent yet. While a study goes on, a run is ended in the tracker when all
    its verifications are there; one that changes afterwards is sent again. After a ``last`` call the tracker has all
    that it would have if the study had been sent at once."""

    tracker: Tracker
    sent: dict[str, set[str]] = field(default_factory=dict)  # run → experiments
    ended: dict[str, tuple[object, ...]] = field(default_factory=dict)  # run → its result
    unchanged: set[str] = field(default_factory=set)  # of `sent`: runs that an earlier export sent as they are now
    note: str = ""
    verdict: Verdict = field(default_factory=dict)
    progress: Callable[[int, int], None] = lambda sent, runs: None  # after each run

    @property
    def steps(self) -> int:
        """Of the runs that this export sent itself."""
        return sum(len(numbers) for run, numbers in self.sent.items() if run not in self.unchanged)

    @property
    def amount(self) -> str:
        same = f"; {many(len(self.unchanged), 'run')} unchanged since the last export" if self.unchanged else ""
        return f"{many(len(self.sent) - len(self.unchanged), 'run')} with {many(self.steps, 'experiment')}{same}"

    def send(self, study: TrackedStudy, *, last: bool = True) -> None:
        if not study.study_id:
            return  # its first record is still to come
        if study.note != self.note:
            self.tracker.describe(study.note)
            self.note = study.note
        for count, run in enumerate(study.runs, 1):
            self._send(run, last)
            self.progress(count, len(study.runs))
        if last and study.verdict and study.verdict != self.verdict:
            self.tracker.conclude(study.verdict)
            self.verdict = study.verdict

    def _send(self, run: TrackedRun, last: bool) -> None:
        over = run.is_over and (run.verified or last)
        if run.run_id in self.ended:
            if not over or self.ended[run.run_id] == run.result:
                return
            del self.ended[run.run_id]
            self.unchanged.discard(run.run_id)
            self.tracker.start(run)
        elif run.run_id not in self.sent and over and self.tracker.has(run):
            self.sent[run.run_id] = {step.experiment_id for step in run.steps}
            self.ended[run.run_id] = run.result
            self.unchanged.add(run.run_id)
            return
        elif run.run_id not in self.sent:
            self.sent[run.run_id] = set()  # before its start, which an interruption may leave half done
            self.tracker.start(run)
        sent = self.sent[run.run_id]
        ready = run.steps if over else run.decided(last)
        if steps := [step for step in ready if step.experiment_id not in sent]:
            self.tracker.log(run, steps)
            sent.update(step.experiment_id for step in steps)
        if over:
            self.tracker.end(run)
            self.ended[run.run_id] = run.result
