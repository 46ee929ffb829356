"""Sends a study to a tracker, at once or again and again while it grows."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.trackers.contract import TrackedRun, TrackedStudy, Tracker


@dataclass
class Sender:
    """Sends to a tracker what it has not been sent yet. While a study goes on, a run is ended in the tracker when all
    its verifications are there; one that changes afterwards is sent again. After a ``last`` call the tracker has all
    that it would have if the study had been sent at once."""

    tracker: Tracker
    sent: dict[str, set[str]] = field(default_factory=dict)  # run → experiments
    ended: dict[str, tuple[object, ...]] = field(default_factory=dict)  # run → its result
    note: str = ""

    @property
    def steps(self) -> int:
        return sum(len(numbers) for numbers in self.sent.values())

    def send(self, study: TrackedStudy, *, last: bool = True) -> None:
        if study.note != self.note:
            self.tracker.describe(study.note)
            self.note = study.note
        for run in study.runs:
            self._send(run, last)

    def _send(self, run: TrackedRun, last: bool) -> None:
        over = run.is_over and (run.verified or last)
        if run.run_id in self.ended:
            if not over or self.ended[run.run_id] == run.result:
                return
            del self.ended[run.run_id]
            self.tracker.start(run)
        elif run.run_id not in self.sent:
            self.tracker.start(run)
        sent = self.sent.setdefault(run.run_id, set())
        ready = run.steps if over else run.decided(last)
        if steps := [step for step in ready if step.experiment_id not in sent]:
            self.tracker.log(run, steps)
            sent.update(step.experiment_id for step in steps)
        if over:
            self.tracker.end(run)
            self.ended[run.run_id] = run.result
