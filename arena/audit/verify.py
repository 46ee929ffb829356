"""`metaloop verify`: trains sources again on a new hidden split and compares the result with the claim.

The seeds, the split and the sample of runs all come from one new secret. Its hash is printed before the check and the
secret after it, so that anyone can repeat the check.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, TypedDict, cast

from pydantic import JsonValue

from analysis.ledger.events import AuditEvent
from analysis.verdict.gain_estimate import GainEstimate, gain_over_seeds
from analysis.verdict.recheck import source_verdict
from arena.audit import embedded
from arena.audit.scratch import Say, measure, scratch, secret_hash
from arena.measuring import over_a_share, over_rows
from arena.study.setup import reference
from arena.work.clock_rule import CpuUse
from arena.work.jobs import MeasureJob, Measurement
from inner_loop.events import FindingEvent
from programs.common.errors import TaskError
from programs.common.ids import content_id
from trainer.rows import RowStore
from trainer.sandbox import flag
from trainer.source import Source
from trainer.streams import Stream, Streams
from trainer.task import Task
from trainer.trust import counts, weakest

if TYPE_CHECKING:
    from trainer.rows import Rows

FRESH: Stream = "confirmation"
BASELINE = "baseline"  # label of the untouched source's sample


@dataclass(frozen=True)
class How:
    """The settings of a check; ``streams`` has its secret."""

    streams: Streams
    workers: int = 1
    fixed_steps: bool = False
    sandbox: bool = True


@dataclass(frozen=True)
class Sample:
    """A source to be trained ``seeds`` times and, with ``ablate``, to be run untrained as often.

    ``label`` names it and decides its seeds. ``own``: CPU use of the source's experiments in its study, if known.
    ``first``: the number of its first hidden split: its trainings have one each, on which the untouched source is
    trained, too.
    """

    label: str
    source: Source
    seeds: int
    ablate: bool = False
    own: tuple[CpuUse, ...] = ()
    first: int = 0

    def jobs(self, task: Task, how: How) -> list[MeasureJob]:
        """Each seed on hidden rows of its own; where there are such, the second one also on the rows of the first, to
        see whether the source ignores its seed; then the untrained ones."""
        trained = [self._job(task, how, f"{self.label} {k}", k, k, 1.0) for k in range(self.seeds)]
        if self.has_same_rows(task):
            trained.append(self._job(task, how, f"{self.label} 1, rows of 0", 1, 0, 1.0))
        few = embedded.fraction(task, how.fixed_steps)
        again = range(self.seeds if self.ablate and embedded.can_be_untrained(task) else 0)
        return trained + [self._job(task, how, f"{self.label} {k} untrained", k, k, few) for k in again]

    def has_same_rows(self, task: Task) -> bool:
        return task.draws_splits and self.seeds > 1

    def _job(self, task: Task, how: How, job_id: str, k: int, rows: int, fraction: float) -> MeasureJob:
        seed = how.streams.seed(FRESH, "verify", self.label, k)
        own, split = self.own if fraction == 1.0 else (), f"verify {self.first + rows}" if task.draws_splits else ""
        return MeasureJob(job_id, self.source.files, FRESH, seed, fraction, own=own, split=split)


@dataclass(frozen=True)
class Taken:
    """The results of a sample: one measurement per seed, trained and untrained. ``same_rows``: of the second seed on
    the hidden rows of the first. ``rows``: values of rows of the trained ones, where the task has them."""

    sample: Sample
    trained: tuple[Measurement, ...]
    untrained: tuple[Measurement, ...] = ()
    same_rows: Measurement | None = None
    rows: tuple[Rows | None, ...] = ()

    @property
    def on_same_rows(self) -> list[float | None]:
        """Metrics of different seeds on the same rows."""
        return self.metrics if self.same_rows is None else [self.metrics[0], _metric(self.same_rows)]

    def of(self, untrained: bool) -> tuple[Measurement, ...]:
        return self.untrained if untrained else self.trained

    @property
    def metrics(self) -> list[float | None]:
        return [_metric(m) for m in self.trained]

    @property
    def failures(self) -> list[str]:
        return [f"{m.status}: {m.reason}" for m in self.trained if _metric(m) is None]


@dataclass(frozen=True)
class Round:
    """All samples of one check, the task's untouched baseline among them."""

    task: Task
    how: How
    taken: Mapping[str, Taken]
    everything: tuple[tuple[str, Measurement], ...]

    @property
    def baseline(self) -> list[float]:
        """The metrics of the untouched source, without failed trainings."""
        return [value for value in self.taken[BASELINE].metrics if value is not None]

    @property
    def trust(self) -> str | None:
        rows = [{"status": m.status, "trust": m.trust} for _, m in self.everything]
        return weakest(row["trust"] for row in rows if counts(row["status"], row["trust"]))

    @property
    def spent(self) -> float:
        """Device-seconds that the whole check took."""
        return sum(m.device_seconds_spent for _, m in self.everything)

    def gain(self, labels: Sequence[str], untrained: bool = False) -> GainEstimate:
        """Gain of the named samples, all seeds pooled."""
        gains = [gain for label in labels for gain in self.gains(label, untrained)]
        taken = [outcome for label in labels for outcome in self.taken[label].of(untrained)]
        ends = [metric for outcome in taken if (metric := _metric(outcome)) is not None]
        still = len(labels) == 1 and bool(self.unmoved(labels[0]))
        estimate = gain_over_seeds(gains, self.shared, self.task.data_noise, ignores_seed=still)
        estimate = self._with_rows(estimate, [*self.baseline, *ends], labels, untrained)
        return replace(estimate, start=fmean(self.baseline), end=fmean(ends) if ends else None)

    def _with_rows(
        self, found: GainEstimate, metrics: Sequence[float], labels: Sequence[str], untrained: bool
    ) -> GainEstimate:
        """With the noise of an own repository's rows, as far as it is known: of a share by the number of its rows, of
        values of rows where the check belongs to a study, whose held-back rows no search saw."""
        if self.task.counted_rows:
            return over_a_share(self.task, found, metrics, looks=1)
        old = [values for values in self.taken[BASELINE].rows if values is not None]
        if not old or untrained or not (self.task.takes_split or self.how.streams.held_secret):
            return found
        new = [values for label in labels for values in self.taken[label].rows]
        return over_rows(self.task, self.how.streams, FRESH, found, old, new)

    def unmoved(self, label: str) -> str:
        """The finding if no seed moves the score of a sample on the same rows; else empty."""
        untouched = [value for value in self.taken[BASELINE].on_same_rows if value is not None]
        return embedded.unmoved(self.taken[label].on_same_rows, untouched)

    @property
    def shared(self) -> list[float]:
        """The untouched metrics whose mean all gains share; none where each gain is over a training of its own."""
        return [] if self.task.draws_splits else self.baseline

    def gains(self, label: str, untrained: bool = False) -> list[float]:
        """Per seed of one sample, over the untouched source on the same hidden rows; a failure earns 0. A seed on whose
        rows the untouched source failed is left out."""
        taken, middle = self.taken[label], fmean(self.baseline)
        untouched = self.taken[BASELINE].metrics
        gains = []
        for k, measured in enumerate(taken.of(untrained)):
            before = untouched[taken.sample.first + k] if self.task.draws_splits else middle
            value = _metric(measured)
            if before is not None:
                gains.append(0.0 if value is None else self.task.sign * (before - value))
        return gains

    def ablation(self, labels: Sequence[str]) -> str:
        """A finding where these samples keep their gain untrained; empty where they lose it, as they should."""
        labels = [label for label in labels if self.taken[label].untrained and self.gains(label)]
        if not labels:
            return ""
        return embedded.ablation(self.gain(labels), self.gain(labels, untrained=True), self.task.unit)


def carry_out(task: Task, samples: Sequence[Sample], seeds: int, how: How, say: Say) -> Round:
    """Train the samples and ``seeds`` times the baseline, at least once on each hidden split of a sample.

    Raises TaskError where the baseline fails every time.
    """
    splits = max((sample.first + sample.seeds for sample in samples), default=0) if task.draws_splits else 0
    whole = [Sample(BASELINE, task.baseline(), max(seeds, splits)), *samples]
    jobs = {sample.label: sample.jobs(task, how) for sample in whole}
    with scratch(task, how.streams, workers=how.workers, fixed_steps=how.fixed_steps, sandbox=how.sandbox) as (
        folder,
        _,
    ):
        measured = measure(folder, how.workers, [job for jobs_of_round in jobs.values() for job in jobs_of_round], say)
        store = RowStore(folder)
        rows = {
            job_id: store.get(jobs_of_round.rows) for job_id, jobs_of_round in measured.items() if jobs_of_round.rows
        }
    taken = {
        s.label: Taken(
            s,
            tuple(measured[job.job_id] for job in jobs[s.label][: s.seeds]),
            tuple(measured[job.job_id] for job in jobs[s.label][s.seeds + s.has_same_rows(task) :]),
            measured[jobs[s.label][s.seeds].job_id] if s.has_same_rows(task) else None,
            tuple(rows.get(job.job_id) for job in jobs[s.label][: s.seeds]),
        )
        for s in whole
    }
    check = Round(task, how, taken, tuple(measured.items()))
    if not check.baseline:
        message = f"{task.folder}: its baseline fails on all {seeds} seeds: {taken[BASELINE].failures[0]}"
        raise TaskError(message, hint=f"metaloop task check {shlex.quote(reference(task))}{flag(how.sandbox)}")
    return check


def findings(check: Round, runs: Mapping[str, str | None]) -> list[FindingEvent]:
    """The findings of a check: by the referee on each source, and by the scan of its text.

    ``runs``: label → the run that the source is of; None for a source of no run.
    """
    rows: list[FindingEvent] = []
    for label, taken in check.taken.items():
        about = {"run_id": runs.get(label), "source_id": taken.sample.source.source_id, "stream": FRESH}
        rows += [FindingEvent.of_line(t, **about, seed=m.seed) for m in taken.trained for t in m.findings]
        rows += [FindingEvent.of_line(text, **about) for text in embedded.scan(check.task, taken.sample.source)]
        still = check.unmoved(label)
        rows += [FindingEvent.of_line(still, **about)] if still else []
    return rows


class AuditFigures(TypedDict, total=False):
    """Columns of the view `audits`; the first five are those of every check."""

    run_id: str | None
    n: int
    gain: float | None
    low: float | None
    high: float | None
    recorded_gain: float | None
    claimed_gain: float | None
    difference: float
    difference_low: float | None
    difference_high: float | None
    recorded_difference: float
    share: float | None  # of the study's device-seconds
    hardware_class: str
    same_hardware: bool
    noise: str  # what the interval of the gain contains, see `arena.measuring.GainEstimate`
    start: float | None
    end: float | None
    held_rows: int | None


@dataclass(frozen=True)
class Audit:
    """The result of a check. ``figures`` are the columns of the view `audits`; gains in the task's unit.

    A source that fails under every seed has no gain and no trust level.
    """

    subject: str
    verdict: str
    figures: AuditFigures
    findings: Sequence[FindingEvent]
    round: Round
    why: str = ""
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def audit_id(self) -> str:
        return content_id("v", self.round.how.streams.secret, self.subject, str(self.figures.get("run_id")))

    @property
    def trust(self) -> str | None:
        return None if self.figures["gain"] is None else self.round.trust

    @property
    def stands(self) -> bool:
        """False where the claim is known to be wrong: invalid, or contradicted by fresh data."""
        return not self.verdict.startswith(("invalid", "contradicted"))

    def event(self) -> AuditEvent:
        """The event reveals the secret, which is used up."""
        streams = self.round.how.streams
        body = {
            "audit_id": self.audit_id,
            "subject": self.subject,
            "verdict": self.verdict,
            "why": self.why,
            **self.figures,
            "unit": self.round.task.unit,
            "trust": self.trust,
            "findings": len(self.findings),
            "device_seconds_spent": self.round.spent,
            "sandbox": self.round.how.sandbox,
            "secret_hash": secret_hash(streams),
            "secret": streams.secret.hex(),
            "stream": FRESH,
            **self.details,
            "measurements": [_row(label, m) for label, m in self.round.everything],
        }
        return AuditEvent(body=cast("dict[str, JsonValue]", body))


def verify_source(
    task: Task, source: Source, seeds: int, how: How, say: Say, run_id: str | None = None, own: tuple[CpuUse, ...] = ()
) -> Audit:
    """Compare a source under ``seeds`` fresh seeds, trained and untrained, with the task's untouched baseline."""
    label = run_id or "source"
    check = carry_out(task, [Sample(label, source, seeds, ablate=True, own=own)], seeds, how, say)
    gain, hollow, failed = check.gain([label]), check.ablation([label]), check.taken[label].failures
    rows = findings(check, {label: run_id})
    if hollow:
        rows.append(FindingEvent.of_line(hollow, run_id=run_id, source_id=source.source_id, stream=FRESH))
    figures: AuditFigures = {"run_id": run_id, "n": gain.n, "gain": None, "low": None, "high": None}
    if len(failed) < seeds:
        figures |= {"gain": gain.gain, "low": gain.low, "high": gain.high}
        figures |= {"noise": gain.noise, "start": gain.start, "end": gain.end, "held_rows": gain.held_rows}
    return Audit(
        "run" if run_id else "source",
        source_verdict(gain, failed, hollow, seeds),
        figures,
        rows,
        check,
        details={"failed_seeds": len(failed), "source_id": source.source_id},
    )


def _metric(measured: Measurement) -> float | None:
    return measured.metric if measured.status == "ok" else None


def _row(label: str, measured: Measurement) -> dict[str, JsonValue]:
    keys = ("seed", "status", "metric", "reason", "trust")
    return {
        "label": label,
        **{k: getattr(measured, k) for k in keys},
        "device_seconds_spent": measured.device_seconds_spent,
    }
