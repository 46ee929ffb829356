"""Runs as jobs, and what the arena measures itself: the baseline, and each run's result on seeds that it never saw."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from analysis.ledger.events import BaselineEvent, HarvestExperimentEvent, ReplayEvent, VerificationEvent
from analysis.statistics import Mean, mean_beside
from arena.arms import Arm, Match
from arena.drain import drained
from arena.executor import Executor
from arena.jobs import BaselineJob, JobResult, MeasureJob, Measurement, RunJob
from arena.task_study import TaskStudy
from inner_loop.events import FindingEvent
from programs.errors import TaskError
from programs.ids import content_id
from trainer.sandbox import flag
from trainer.streams import DECIDING, Stream

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
        made = event(lacking[result.job_id], measured)
        run_id = made.run_id if isinstance(made, ReplayEvent) else None
        record_findings(on, measured, run_id=run_id, source_id=made.source_id, stream=made.stream)
        on.record(made)
    if any(key not in known for key in wanted):
        raise drained(on.study)
    return [known[key] for key in wanted]


def recorded(measured: Measurement) -> dict[str, Any]:
    """The fields that all events of a training have of its measurement."""
    names = ("seed", "status", "metric", "reason", "trust", "wall_seconds")
    return {name: getattr(measured, name) for name in names} | {"device_seconds_spent": measured.spent_seconds}


def measure_baseline(on: TaskStudy, executor: Executor, stream: Stream, match_id: str) -> float:
    """Mean metric of the untouched baseline over the shared fresh seeds of ``stream``; measured once a study."""
    task = on.task.name

    def event(_: tuple[str, str, int], measured: Measurement) -> BaselineEvent:
        return BaselineEvent(
            match_id=match_id,
            task=task,
            stream=stream,
            source_id=on.task.baseline().source_id,
            constraints=measured.constraints or None,
            **recorded(measured),
        )

    wanted: dict[tuple[str, str, int], BaselineJob] = {
        (task, stream, seed): BaselineJob(stream, seed, task=on.task_id) for seed in baseline_seeds(on, stream)
    }
    trained = train(on, executor, wanted, on.state.baselines, event)
    values = untouched_metrics(on, stream)
    if not values:
        raise TaskError(
            f"{on.task.folder}: its baseline fails on all {len(trained)} seeds: {trained[0].reason}",
            hint=f"metaloop task check {shlex.quote(on.config.task)}{flag(on.config.sandbox)}",
        )
    return statistics.fmean(values)


def baseline_seeds(on: TaskStudy, stream: Stream) -> list[int]:
    return [on.streams.seed(stream, "baseline", i) for i in range(on.config.baseline_seeds)]


def untouched_metrics(on: TaskStudy, stream: Stream) -> list[float]:
    """The metrics of the baseline so far, without failed trainings."""
    known = (on.state.baselines.get((on.task.name, stream, seed)) for seed in baseline_seeds(on, stream))
    return [row.metric for row in known if row and row.status == "ok" and row.metric is not None]


def run_job(on: TaskStudy, match: Match, arm: Arm, index: int) -> RunJob:
    run_id = content_id("r", arm.arm_id, str(index))
    seeds_of: Stream = match.stream if match.stream in DECIDING else "search"
    # Arms share one list of run seeds; further arms of the same program draw their own, so that A/A is two samples.
    twin = (str(arm.twin),) if arm.twin else ()
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
        verify_seeds=tuple(
            on.streams.seed(match.stream, "verify", run_id, k) for k in range(on.config.seeds_on(match.stream))
        ),
        luck=content_id("r", arm.paired_with, str(index)) if arm.paired_with else run_id,
        recorded=on.state.run(run_id).recorded,
        task=on.task_id,
        beside=tuple((program.name, program.document) for program in arm.beside),
        start=tuple(on.config.start) if arm.beside else (),
    )


def settled(on: TaskStudy, job: RunJob) -> bool:
    """Whether the ledger has all verifications of the run, which are its last records."""
    return len(on.state.run(job.run_id).verifications) >= len(job.verify_seeds)


def settle(on: TaskStudy, job: RunJob, arm: Arm, result: JobResult, baseline: float) -> None:
    """Record the verified gains of a finished run.

    The gain is 0 for a run that ends at the baseline and was not trained again (`RunJob.fresh_seeds`), and under a
    fresh seed where the source fails; the status says which. Where nothing was trained the trust is empty, or
    `unverified` without a sandbox.
    """
    if result.state != "finished":
        return
    measured = result.measurements
    if result.final_is_baseline and not job.fresh_seeds(untouched=True):
        trust = "" if on.config.sandbox else "unverified"
        measured = tuple(Measurement(seed, "baseline", baseline, "", trust, 0.0, 0.0) for seed in job.verify_seeds)
    for m in measured:
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
                baseline_metric=baseline,
                gain=gain_over_baseline(on, baseline, m),
                constraints=m.constraints or None,
                **recorded(m),
            )
        )


def gain_over_baseline(on: TaskStudy, baseline: float, measured: Measurement | HarvestExperimentEvent) -> float:
    """0 under a seed with which the source fails."""
    ok = measured.status == "ok" and measured.metric is not None
    return on.task.sign * (baseline - (measured.metric or 0.0)) if ok else 0.0


def gain_interval(on: TaskStudy, stream: Stream, gains: Sequence[float]) -> Mean:
    """Mean of the gains of one source, and its interval, with the error of the baseline that they share."""
    return mean_beside(gains, untouched_metrics(on, stream))


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
