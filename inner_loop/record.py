"""One experiment in the bench's history, and its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from inner_loop.events import DecisionEvent, ExperimentEvent
from programs.common.text import word_list
from trainer.edits import Edit, Value
from trainer.experiment import Outcome
from trainer.source import Source

# What an event has under the same name.
_OF_RECORD = word_list(
    "experiment_id number edit seed replicate fraction description proposer diff started_at program_id"
)
_OF_OUTCOME = word_list("""
    status metric training_seconds prediction_seconds wall_seconds peak_memory_mb utilization steps trust findings
    cached reason rows
""")


@dataclass
class Record:
    """An experiment of a run: number 0 is the untouched baseline; `decision` is set once, by `Bench.decide`."""

    number: int
    experiment_id: str
    parent: int | None
    source: Source
    config: dict[str, Value]
    edit: Edit
    seed: int
    replicate: int
    fraction: float
    outcome: Outcome
    because: tuple[str, ...] = ()
    description: str = ""
    proposer: str = ""
    charged: float = 0.0
    started_at: str = ""
    decision: str = ""
    reason: str = ""
    gain: float | None = None  # over the source that the decision compared it with, and its standard error
    gain_se: float | None = None
    program_id: str | None = None  # of a night: whose turn it was
    diff: str = field(default="", repr=False)

    @property
    def metric(self) -> float | None:
        """The referee's metric in the task's unit; None if the experiment failed."""
        return self.outcome.metric if self.outcome.status == "ok" else None

    @property
    def ok(self) -> bool:
        return self.metric is not None

    @property
    def full(self) -> bool:
        """Whether it had the whole budget of an experiment: only such records are compared with the head."""
        return self.fraction >= 1.0


def experiment_event(run_id: str, record: Record, parent: Record | None) -> ExperimentEvent:
    outcome = record.outcome
    return ExperimentEvent(
        **_values(record, _OF_RECORD),
        **_values(outcome, _OF_OUTCOME),
        run_id=run_id,
        parent_number=record.parent,
        source_id=record.source.source_id,
        parent_source_id=parent.source.source_id if parent else None,
        config=dict(record.config),
        device_seconds_charged=outcome.device_seconds_charged,
        device_seconds_spent=outcome.device_seconds_spent,
        directive_ids=record.because,
        constraints=dict(outcome.constraints) or None,
    )


def decision_event(run_id: str, record: Record) -> DecisionEvent:
    return DecisionEvent(
        run_id=run_id,
        experiment_id=record.experiment_id,
        decision=record.decision,
        reason=record.reason,
        gain=record.gain,
        gain_se=record.gain_se,
    )


def recorded_outcome(event: ExperimentEvent) -> Outcome:
    """The outcome of a recorded experiment; its log is not in the ledger and comes back empty."""
    return Outcome(
        **_values(event, _OF_OUTCOME),
        device_seconds_charged=event.device_seconds_charged,
        device_seconds_spent=event.device_seconds_spent,
        constraints=event.constraints or {},
    )


def _values(source: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def measured_records(history: Sequence[Record], source_id: str) -> dict[int, Record]:
    """A source's full experiments that did not fail: replicate number → record."""
    full = (record for record in history if record.source.source_id == source_id and record.full and record.ok)
    return {record.replicate: record for record in full}


def measurements(history: Sequence[Record], source_id: str) -> dict[int, float]:
    """Metrics of a source's full experiments: replicate number → metric."""
    return {number: cast(float, one.metric) for number, one in measured_records(history, source_id).items()}
