"""Strict parsing of a remote worker's messages: JSON lines of bounded size that fit its current job."""

from __future__ import annotations

import math

from pydantic import JsonValue, ValidationError

from analysis.ledger.events import Event, read_event
from analysis.ledger.json_values import strictly
from analysis.ledger.run_state import RunState
from arena.jobs import BaselineJob, Job, JobResult, MeasureJob, RunJob
from inner_loop.events import ExperimentEvent, experiment_id
from trainer.devices import MOST_DEVICES

MOST_LINE = 16 << 20  # bytes of one message; an experiment with its diff has some tens of KB
OF_A_RUN = frozenset(
    {"run_started", "experiment", "wave", "decision", "finding", "call", "agent", "fault", "run_ended"}
)
ONCE = frozenset({"run_started", "run_ended"})


class Malformed(Exception):
    """An invalid message. The worker is ended as if it had died, and its job moves to another one."""


def parse(line: bytes) -> dict[str, JsonValue]:
    """One message. Raises Malformed if it is too long, no JSON object, or contains NaN or infinity."""
    if len(line) > MOST_LINE:
        raise Malformed(f"a message of {len(line) >> 20} MB")
    try:
        message = strictly(line)
    except (ValueError, RecursionError):
        raise Malformed("a message that is not JSON") from None
    if not isinstance(message, dict):
        raise Malformed("a message that is not a JSON object")
    return message


class TrackedJob:
    """A job in progress on a node, with the recorded events of its run, so that none is written or done twice."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._past = RunState()
        self._received: set[str] = set()
        for event in job.recorded if isinstance(job, RunJob) else ():
            self._past.take(event)

    def recorded(self) -> tuple[Event, ...]:
        """The run's events in the ledger, for `RunJob.recorded`."""
        return self._past.recorded

    def take(self, record: object) -> Event | None:
        """The event to write; None if it is in the ledger already. Raises Malformed."""
        if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
            raise Malformed("an event without a kind")
        kind, run_id = record["kind"], record.get("run_id")
        if isinstance(self.job, RunJob):
            if kind not in OF_A_RUN or run_id != self.job.run_id:
                raise Malformed(f"an event {kind!r} of {run_id!r} during run {self.job.run_id}")
        elif kind != "fault":
            raise Malformed(f"an event {kind!r} during job {self.job.job_id}")
        if {"seq", "prev", "hash", "schema"} & record.keys():
            raise Malformed(f"an event {kind!r} with fields that only the ledger sets")
        if "number" in record and type(record["number"]) is not int:
            raise Malformed(f"an event {kind!r} with number {record['number']!r}")
        try:
            event = read_event(record)
        except ValidationError:
            event = None
        if event is None:
            raise Malformed(f"an event {kind!r} with missing or invalid fields")
        if self._is_recorded(event):
            return None
        self._past.take(event)
        return event

    def _is_recorded(self, event: Event) -> bool:
        if isinstance(event, ExperimentEvent):
            if event.experiment_id != experiment_id(self.job.job_id, event.number):
                raise Malformed(f"an experiment {event.experiment_id!r} with number {event.number!r}")
            known = self._past.experiments
            if event.experiment_id in known:  # the worker has the recorded experiments, so a repetition is not trusted
                raise Malformed(f"experiment {event.number} again")
            if not 0 <= event.number < len(known) + MOST_DEVICES:  # experiments of a wave end in any order
                raise Malformed(f"experiment {event.number} after {len(known)}")
        if event.kind in ONCE and getattr(event, "state", "finished") == "finished":
            before = event.kind in self._received
            self._received.add(event.kind)
            return before
        return False


def result_of(message: object, job: Job) -> JobResult:
    """The result of ``job``. Raises Malformed if it is incomplete or belongs to another job."""
    try:
        result = JobResult.from_json(message)
    except ValidationError as error:
        raise Malformed(f"a result with {error.error_count()} faults, first in {error.errors()[0]['loc']}") from None
    if result.job_id != job.job_id or result.state not in ("finished", "interrupted"):
        raise Malformed(f"a result {result.state!r} of {result.job_id!r} during job {job.job_id}")
    seeds = [m.seed for m in result.measurements]
    if result.state == "finished" and seeds != list(_seeds(job, result)):
        raise Malformed(f"measurements with other seeds than those of {job.job_id}")
    if not all(m.metric is None or math.isfinite(m.metric) for m in result.measurements):
        raise Malformed("a metric that is not finite")
    return result


def _seeds(job: Job, result: JobResult) -> tuple[int, ...]:
    if isinstance(job, BaselineJob | MeasureJob):
        return (job.seed,)
    return job.fresh_seeds(result.final_is_baseline)
