"""Runs as jobs, and what the arena measures itself: the baseline, and each run's result on seeds that it never saw."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from analysis.ledger.events import BaselineEvent, HarvestExperimentEvent, ReplayEvent, VerificationEvent
from analysis.ledger.run_state import StudyState
from analysis.statistics import satterthwaite
from analysis.verdict.gain_estimate import GainEstimate, gain_over_rows, gain_over_seeds
from arena.arms import Arm, Match
from arena.study.stop import drained
from arena.study.task_study import TaskStudy
from arena.work.executor import Executor
from arena.work.jobs import BaselineJob, JobResult, MeasureJob, Measurement, RunJob
from inner_loop.events import FindingEvent
from programs.common.errors import TaskError
from programs.common.ids import content_id
from trainer.data import scored_rows
from trainer.rows import (
    ROWS,
    SEEDS,
    VALUES,
    RowStore,
    luck_of_looks,
    share_error,
)
from trainer.sandbox import flag
from trainer.streams import DECIDING, Stream, Streams
from trainer.task import Task

if TYPE_CHECKING:
    from trainer.rows import Rows

CHANGED = 3  # settings of the script that a further night begins with
Key = TypeVar("Key")
Trained = TypeVar("Trained", BaselineEvent, HarvestExperimentEvent, ReplayEvent)


def train(
    on: TaskStudy,
    executor: Executor,
    wanted: Mapping[Key, BaselineJob | MeasureJob],
    known: Mapping[Key, Trained],
    event: Callable[[Key, Measurement], Trained],
) -> list[Trained]:
    """The record of each wanted training. Those that ``known``, the ledger's, lacks are carried out and recorded.

    Raises Drained where the study is stopped meanwhile.
    """
    lacking = {job.job_id: key for key, job in wanted.items() if key not in known}
    for result in executor.run([wanted[key] for key in lacking.values()]):
        (measured,) = result.measurements
        events = event(lacking[result.job_id], measured)
        run_id = events.run_id if isinstance(events, ReplayEvent) else None
        record_findings(on, measured, run_id=run_id, source_id=events.source_id, stream=events.stream)
        on.record(events)
    if any(key not in known for key in wanted):
        raise drained(on.study)
    return [known[key] for key in wanted]


def recorded(measured: Measurement) -> dict[str, Any]:
    """The fields that all events of a training have of its measurement."""
    names = ("seed", "status", "metric", "reason", "trust", "wall_seconds", "rows")
    return {name: getattr(measured, name) for name in names} | {"device_seconds_spent": measured.device_seconds_spent}


def measure_baseline(
    on: TaskStudy, executor: Executor, stream: Stream, match_id: str, splits: Iterable[str] = ("",)
) -> None:
    """Measure the untouched source on those hidden ``splits`` of the stream on which the ledger does not have it yet:
    one training for each of the shared fresh seeds, which is scored on all of them.

    Raises TaskError where every training fails, Drained where the study is stopped meanwhile.
    """
    task, source_id = on.task.name, on.task.baseline().source_id
    labels = list(dict.fromkeys(splits))
    wanted: dict[tuple[str, str, int, str], BaselineJob] = {}
    for seed in baseline_seeds(on, stream):
        lacking = tuple(label for label in labels if not on.state.baselines_on(task, stream, seed, label))
        if lacking:
            wanted[task, stream, seed, lacking[0]] = BaselineJob(stream, seed, task=on.task_id, splits=lacking)
    if wanted and on.task.draws_splits:
        on.make_splits(stream, {label for job in wanted.values() for label in job.splits})

    def event(key: tuple[str, str, int, str], measured: Measurement) -> BaselineEvent:
        labels = wanted[key].splits
        scores = measured.splits or dict.fromkeys(labels, measured.metric)
        return BaselineEvent(
            match_id=match_id,
            task=task,
            stream=stream,
            source_id=source_id,
            constraints=measured.constraints or None,
            further_seconds=measured.further_seconds or None,
            splits={label: scores.get(label) for label in labels} if labels != ("",) else None,
            **recorded(measured),
        )

    train(on, executor, wanted, on.state.baselines, event)
    for label in labels:
        if baseline_metric(on.state, task, stream, label) is None:
            failed = on.state.baselines_of(task, stream)
            raise TaskError(
                f"{on.task.folder}: its baseline fails on all {on.config.baseline_seeds} seeds: {failed[-1].reason}",
                hint=f"metaloop task check {shlex.quote(on.config.task)}{flag(on.config.sandbox)}",
            )


def baseline_seeds(on: TaskStudy, stream: Stream) -> list[int]:
    return [on.streams.seed(stream, "baseline", i) for i in range(on.config.baseline_seeds)]


def baseline_metric(state: StudyState, task: str, stream: str, split: str | None) -> float | None:
    """Mean metric of the untouched source over its seeds on one hidden split; None where it was not measured."""
    values = [metric for row in state.baselines_of(task, stream) if (metric := row.on(split or "")) is not None]
    return statistics.fmean(values) if values else None


def untouched_metrics(state: StudyState, task: str, stream: str, splits: Collection[str | None]) -> list[float]:
    """For each seed of the untouched source, the mean of its metrics on these hidden splits; without failed trainings.

    On the same splits the seeds differ by the noise of seeds alone.
    """
    by_seed: dict[int, list[float]] = {}
    labels = {split or "" for split in splits}
    for row in state.baselines_of(task, stream):
        metrics = (row.on(label) for label in sorted(labels))
        by_seed.setdefault(row.seed, []).extend(metric for metric in metrics if metric is not None)
    return [statistics.fmean(values) for _, values in sorted(by_seed.items()) if len(values) == len(labels)]


def run_job(on: TaskStudy, match: Match, arm: Arm, index: int) -> RunJob:
    run_id = content_id("r", arm.arm_id, str(index))
    seeds_of: Stream = match.stream if match.stream in DECIDING else "search"
    # Arms share one list of run seeds; further arms of the same program draw their own, so that A/A is two samples.
    twin = (str(arm.twin),) if arm.twin else ()
    seeds = on.config.seeds_on(match.stream)
    return RunJob(
        run_id=run_id,
        match_id=match.match_id,
        arm_id=arm.arm_id,
        program_id=arm.program.program_id,
        program_name=arm.program.name,
        program_text=arm.program.document,
        run_seed=on.streams.seed(seeds_of, "run", match.label, index, *twin),
        stream=match.stream,
        budget=on.config.run_budget,
        researcher=on.config.researcher,
        verify_seeds=tuple(on.streams.seed(match.stream, "verify", run_id, k) for k in range(seeds)),
        verify_splits=tuple(split_of(on, match.stream, match.label, index, k) for k in range(seeds)),
        luck=content_id("r", arm.paired_with, str(index)) if arm.paired_with else run_id,
        recorded=on.state.run(run_id).recorded,
        task=on.task_id,
        beside=tuple((program.name, program.document) for program in arm.beside),
        start=start_of(on, match, arm, index),
        order=arm.order,
    )


def start_of(on: TaskStudy, match: Match, arm: Arm, index: int) -> tuple[tuple[str, str], ...]:
    """The files that a night begins with. Of several nights with a planned number of turns each but the first begins
    at a script with a few settings drawn at random, so that not all of them end near the same best script."""
    if arm.order.blocks and index:
        seed = on.streams.seed("search", "start", match.label, index)
        return on.task.edits.drawn(on.task.baseline(), CHANGED, np.random.default_rng(seed)).files
    return tuple(on.config.start) if arm.beside else ()


def split_of(on: TaskStudy, stream: Stream, label: str, index: int, k: int) -> str:
    """The label of the hidden split on which the ``k``-th verification of an arm's run ``index`` is scored in the match
    ``label``.

    Each verification has rows of its own, so that the spread between runs contains the noise of the rows; the arms of
    a match share them, so that their differences do not. On the stream selection, which only chooses, all matches do,
    so that the untouched source is measured there once. Empty where the task has no hidden splits to draw.
    """
    if not on.task.draws_splits:
        return ""
    return f"{label} {index} {k}" if stream in DECIDING else f"{index} {k}"


def splits_of_runs(on: TaskStudy, match: Match, runs: int) -> list[str]:
    """The labels of all splits on which the first so many runs of each arm are verified."""
    return [
        split_of(on, match.stream, match.label, i, k)
        for i in range(runs)
        for k in range(on.config.seeds_on(match.stream))
    ]


def settled(on: TaskStudy, job: RunJob) -> bool:
    """Whether the ledger has all verifications of the run, which are its last records."""
    return len(on.state.run(job.run_id).verifications) >= len(job.verify_seeds)


def settle(on: TaskStudy, job: RunJob, arm: Arm, result: JobResult) -> None:
    """Record the verified gains of a finished run, over the untouched source on the same hidden splits, which must be
    measured there (`measure_baseline`).

    The gain is 0 for a run that ends at the baseline and was not trained again (`RunJob.fresh`), and under a fresh
    seed where the source fails; the status says which. Where nothing was trained the trust is empty, or `unverified`
    without a sandbox.
    """
    if result.state != "finished":
        return
    splits = dict(zip(job.verify_seeds, job.verify_splits, strict=True))
    baselines = {s: baseline_metric(on.state, on.task.name, job.stream, s) for s in set(splits.values())}
    measured = result.measurements
    if result.final_is_baseline and not job.fresh(untouched=True):
        trust = "" if on.config.sandbox else "unverified"
        measured = tuple(
            Measurement(seed, "baseline", baselines[split], "", trust, 0.0, 0.0) for seed, split in splits.items()
        )
    for m in measured:
        split = splits[m.seed]
        if m.seed in on.state.run(job.run_id).verifications:
            continue
        final = result.run.final_source_id if result.run else None
        record_findings(on, m, run_id=job.run_id, source_id=final, stream=job.stream)
        on.record(
            VerificationEvent(
                run_id=job.run_id,
                arm_id=arm.arm_id,
                program_id=arm.program.program_id,
                task=on.task.name,
                stream=job.stream,
                baseline_metric=baselines[split],
                gain=gain_over_baseline(on, baselines[split], m),
                constraints=m.constraints or None,
                split=split or None,
                **recorded(m),
            )
        )


def gain_over_baseline(
    on: TaskStudy, baseline: float | None, measured: Measurement | HarvestExperimentEvent | VerificationEvent
) -> float:
    """``baseline``: the untouched source's metric on the same split. 0 under a seed with which the source fails."""
    if measured.status != "ok" or measured.metric is None or baseline is None:
        return 0.0
    return on.task.sign * (baseline - measured.metric)


def gain_estimate(
    on: TaskStudy, stream: Stream, trained: Sequence[VerificationEvent | HarvestExperimentEvent]
) -> GainEstimate:
    """The gain of one source over the untouched one, with every noise that the task lets one know.

    ``trained``: its trainings under fresh seeds on ``stream``; a failed one gains 0.
    """
    task, state = on.task, on.state
    gains = [gain_over_baseline(on, baseline_metric(state, task.name, stream, e.split), e) for e in trained]
    untouched = untouched_metrics(state, task.name, stream, {e.split for e in trained})
    metrics = [e.metric for e in trained if e.status == "ok" and e.metric is not None]
    gain = gain_over_seeds(gains, untouched, task.data_noise)
    if task.data_noise == VALUES:
        store = RowStore(on.folder)
        old = [store.get(row.rows) for row in state.baselines_of(task.name, stream) if row.rows]
        new = [store.get(row.rows) if row.status == "ok" and row.rows else None for row in trained]
        gain = over_rows(task, on.streams, stream, gain, old, new)
    elif task.counted_rows:
        on.study.follow()  # what workers have recorded
        looks = sum(run.measured for run in state.runs.values())
        gain = over_a_share(task, gain, [*untouched, *metrics], looks)
    start, end = (statistics.fmean(values) if values else None for values in (untouched, metrics))
    return replace(gain, start=start, end=end)


def over_rows(
    task: Task,
    streams: Streams,
    stream: Stream,
    seeds: GainEstimate,
    old: Sequence[Rows],
    new: Sequence[Rows | None],
) -> GainEstimate:
    """With the noise of the rows that the search did not see, from differences row by row; that of the ``seeds`` alone
    where it saw all of them. Degrees of freedom by Satterthwaite.

    ``old``, ``new``: values of rows [rows] of the trainings of the untouched source and of the other one on ``stream``;
    None: failed, so that it gains 0.
    """
    middle = np.mean(old, axis=0)
    held = task.held_rows(len(middle))
    if stream not in DECIDING or not (held or task.takes_split):
        return seeds
    shown = scored_rows(task, streams, stream, len(middle))
    mean = np.mean([middle if values is None else values for values in new], axis=0)
    rows = gain_over_rows(task.sign * (middle - mean)[shown])
    estimate = replace(seeds, value=rows.value, held_rows=held or None)
    if rows.se is None:
        return estimate.without_interval
    return with_rows(estimate, rows.se**2, rows.df)


def over_a_share(task: Task, seeds: GainEstimate, metrics: Sequence[float], looks: int) -> GainEstimate:
    """With the noise of the rows of which the metric is a share, as if the two scripts were measured on different ones.

    Rows that the search used show a gain only beyond five times that error with the luck of all ``looks`` at them.
    """
    rows = task.counted_rows or 1
    error = math.sqrt(2) * max((share_error(value, rows) for value in metrics), default=math.inf)
    if not math.isfinite(error):
        return seeds
    luck = 0.0 if task.takes_split else luck_of_looks(error, looks)
    if not task.takes_split and seeds.gain < 5 * (error + luck):
        return seeds.without_interval
    return replace(with_rows(seeds, error**2, rows - 1.0), luck=luck)


def with_rows(seeds: GainEstimate, variance: float, df: float) -> GainEstimate:
    """An estimate over seeds with the rows' ``variance``, which has ``df`` degrees of freedom, in its interval."""
    parts = [(variance, df), *([(seeds.se**2, seeds.df)] if seeds.se else [])]
    se, whole_df = math.sqrt(math.fsum(part for part, _ in parts)), satterthwaite(parts)
    return replace(seeds, se=se, df=whole_df, noise=f"{SEEDS} {ROWS}" if seeds.se else ROWS)


def record_findings(on: TaskStudy, measured: Measurement, **about: str | None) -> None:
    """To be called before the measurement is recorded: after it the job is not repeated, and these would be lost."""
    for text in measured.findings:
        on.record(FindingEvent.of_line(text, seed=measured.seed, **about))


def settled_gains(on: TaskStudy, arm_id: str) -> tuple[float, ...]:
    gains: list[float] = []
    while (gain := run_gain(on, content_id("r", arm_id, str(len(gains))))) is not None:
        gains.append(gain)
    return tuple(gains)


def run_gain(on: TaskStudy, run_id: str) -> float | None:
    """Verified gain of a run: mean over its fresh training seeds; None while it is not settled."""
    run = on.state.run(run_id)
    needed = max((on.config.seeds_on(each.stream) for each in run.verifications.values()), default=1)
    return run.gain if len(run.verifications) >= needed else None
