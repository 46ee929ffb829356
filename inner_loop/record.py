"""One experiment in the bench's history, and its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from inner_loop.events import DecisionEvent, ExperimentEvent
from trainer.edits import Edit, Value
from trainer.experiment import Outcome
from trainer.outcome import Status, Trust
from trainer.source import Source


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
        run_id=run_id,
        experiment_id=record.experiment_id,
        number=record.number,
        parent_number=record.parent,
        source_id=record.source.source_id,
        parent_source_id=parent.source.source_id if parent else None,
        edit=record.edit,
        config=dict(record.config),
        seed=record.seed,
        replicate=record.replicate,
        fraction=record.fraction,
        status=outcome.status,
        metric=outcome.metric,
        device_seconds_charged=outcome.device_seconds,
        device_seconds_spent=outcome.spent_seconds,
        training_seconds=outcome.training_seconds,
        prediction_seconds=outcome.prediction_seconds,
        wall_seconds=outcome.wall_seconds,
        peak_memory_mb=outcome.peak_memory_mb,
        utilization=outcome.utilization,
        steps=outcome.steps,
        description=record.description,
        proposer=record.proposer,
        directive_ids=record.because,
        trust=outcome.trust,
        findings=outcome.findings,
        cached=outcome.cached,
        reason=outcome.reason,
        diff=record.diff,
        started_at=record.started_at,
        constraints=dict(outcome.constraints) or None,
        program_id=record.program_id,
    )


def decision_event(run_id: str, record: Record) -> DecisionEvent:
    return DecisionEvent(
        run_id=run_id, experiment_id=record.experiment_id, decision=record.decision, reason=record.reason
    )


def recorded_outcome(event: ExperimentEvent) -> Outcome:
    """The outcome of a recorded experiment; its log is not in the ledger and comes back empty."""
    return Outcome(
        status=cast(Status, event.status),
        metric=event.metric,
        device_seconds=event.device_seconds_charged,
        spent_seconds=event.device_seconds_spent,
        wall_seconds=event.wall_seconds,
        steps=event.steps,
        peak_memory_mb=event.peak_memory_mb,
        utilization=event.utilization,
        training_seconds=event.training_seconds,
        prediction_seconds=event.prediction_seconds,
        reason=event.reason,
        log="",
        trust=cast(Trust, event.trust),
        cached=event.cached,
        findings=event.findings,
        constraints=event.constraints or {},
    )


def measurements(history: Sequence[Record], source_id: str) -> dict[int, float]:
    """Metrics of a source's full experiments: replicate number → metric."""
    metrics: dict[int, float] = {}
    for record in history:
        if record.source.source_id == source_id and record.full and record.ok:
            metrics[record.replicate] = cast(float, record.metric)
    return metrics
