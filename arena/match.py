"""A match: several programs on the same task, run seeds and budget, measured by what nobody saw."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.events import BaselineEvent, MatchArm, MatchConfig, MatchEndedEvent, MatchEvent, VerificationEvent
from arena.drain import drained
from arena.executor import Executor, Progress, rebuild
from arena.jobs import BaselineJob, JobResult, Measurement, RunJob
from arena.race import ArmScore, Racer
from arena.study import Study
from inner_loop.events import FindingEvent
from programs.diff import diff
from programs.directives import CHARTER
from programs.errors import TaskError
from programs.ids import content_id
from programs.program import Program
from trainer.streams import DECIDING, Stream

RACED = ("program", "control")
PAIRED = ("race", "generation")  # purposes; the one test of a confirmation takes its arms to be independent


@dataclass(frozen=True)
class Entry:
    """A program that takes part, and in what role: program, control, a/a, champion, without-ideas."""

    program: Program
    role: str = "program"


@dataclass(frozen=True)
class Arm:
    """One entry of a program in a match. ``twin`` counts the arms of the same program before it.

    ``kin`` is the arm of a near-identical program before it whose luck it shares: what they propose, run by run, is
    drawn from the same seeds, so that they differ by their programs alone. Empty: luck of its own.
    """

    arm_id: str
    program: Program
    role: str
    twin: int
    kin: str = ""

    @property
    def raced(self) -> bool:
        return self.role in RACED


@dataclass(frozen=True)
class Match:
    """What a match is made of. ``label`` names it within its study and, with it, its list of run seeds."""

    match_id: str
    label: str
    purpose: str
    stream: Stream
    arms: tuple[Arm, ...]
    generation: int | None = None


Place = tuple[Study, Match]  # a study on one of its tasks, and what is played there
Over = Callable[[Sequence[list[ArmScore]]], list[ArmScore]]


def enter(
    study: Study,
    label: str,
    entries: Iterable[Entry],
    *,
    purpose: str,
    stream: Stream,
    generation: int | None = None,
) -> Match:
    """Give every entry its arm. Two entries of one program are two arms with run seeds of their own.

    A match that the ledger knows keeps the kinship that it was announced with, or without.
    """
    match_id = content_id("m", study.config.study_id, label)
    announced = study.state.matches.get(match_id)
    kinship = {arm.arm_id: arm.kin or "" for arm in announced.arms} if announced else None
    arms: list[Arm] = []
    for entry in entries:
        twin = sum(arm.program.program_id == entry.program.program_id for arm in arms)
        arm_id = content_id("a", match_id, entry.program.program_id, str(twin))
        kin = kin_of(entry.program, arms) if purpose in PAIRED and not twin else ""
        kin = kin if kinship is None else kinship.get(arm_id, "")
        arms.append(Arm(arm_id, entry.program, entry.role, twin, kin))
    return Match(match_id, label, purpose, stream, tuple(arms), generation)


def kin_of(program: Program, arms: Iterable[Arm]) -> str:
    """The arm whose luck a program shares: the first whose program differs by one charter field, or its kin.

    Only there did it help: gains correlate by .3 to .9 then, by .1 to .2 where an idea differs, not at all between
    strangers (`bench.pairing`).
    """
    own = {(d.directive_id, d.kind) for d in program.directives}
    for arm in arms:
        other = {(d.directive_id, d.kind) for d in arm.program.directives}
        if any(kind != CHARTER for _, kind in own ^ other):
            continue  # so that texts, which take long to compare, need not be
        apart = diff(arm.program, program)
        single = [*apart.added, *apart.removed, *(new for _, new in apart.changed)]
        if len(single) == 1 and single[0].kind == CHARTER and not arm.twin:
            return arm.kin or arm.arm_id
    return ""


def play(study: Study, executor: Executor, match: Match, racer: Racer, progress: Progress) -> list[ArmScore]:
    """Play a match to its end, from wherever the ledger says it stands; returns the arms' verified gains."""
    return play_on([(study, match)], executor, racer, progress, lambda found: found[0])[0]


def play_on(
    places: Sequence[Place], executor: Executor, racer: Racer, progress: Progress, over: Over
) -> list[list[ArmScore]]:
    """Play the same arms on several tasks, a match each, to their common end; returns their gains on each.

    ``over`` makes of the scores on all of them the ones that the racer goes by, under the names of the first match's
    arms: who is wanted for more runs gets them on every task.
    """
    for study, match in places:
        announce(study, match, progress)
    baselines = [measure_baseline(study, executor, match.stream, match.match_id) for study, match in places]
    while wanted := racer.next_round(over([scores(*place) for place in places])):
        carry_out(places, executor, wanted, baselines, progress)
    for study, match in places:
        if match.match_id not in study.state.ended_matches:
            study.record(MatchEndedEvent(match_id=match.match_id, state="finished"))
        progress({"kind": "match_ended", "match_id": match.match_id, "label": match.label})
    return [scores(*place) for place in places]


def carry_out(
    places: Sequence[Place], executor: Executor, wanted: Mapping[str, int], baselines: Sequence[float],
    progress: Progress,
) -> None:  # fmt: skip
    """The runs of one round, task by task. Raises Drained where the study was asked to stop before their end."""
    first = [arm.arm_id for arm in places[0][1].arms]
    jobs = {
        job.run_id: (job, number)
        for number, (study, match) in enumerate(places)
        for job in round_of(study, match, _renamed(wanted, first, match))
        if not settled(study, job)
    }
    problem: Mapping[str, Any] | None = None
    for result in executor.run([job for job, _ in jobs.values()]):
        job, number = jobs[result.job_id]
        study, match = places[number]
        arm = next(arm for arm in match.arms if arm.arm_id == job.arm_id)
        settle(study, job, arm, result, baselines[number])
        progress(ended(study, job, result))
        if result.problem and problem is None:  # the others would meet it too: what is in flight ends first
            problem = result.problem
            study.request_stop()
    if problem:
        raise rebuild(problem)
    if not all(settled(places[number][0], job) for job, number in jobs.values()):
        raise drained(places[0][0])


def _renamed(wanted: Mapping[str, int], first: Sequence[str], match: Match) -> dict[str, int]:
    """What is wanted of the first match's arms, under the names that those arms have in another one."""
    by_arm = dict(zip(first, (arm.arm_id for arm in match.arms), strict=True))
    return {by_arm[arm_id]: runs for arm_id, runs in wanted.items()}


def announce(study: Study, match: Match, progress: Progress) -> None:
    """Write the match down before anything of it is run."""
    if match.match_id not in study.state.matches:
        study.record(announcement(study, match))
    arms = [
        {"arm_id": arm.arm_id, "program_id": arm.program.program_id, "role": arm.role, "name": arm.program.name}
        for arm in match.arms
    ]
    shown = {"match_id": match.match_id, "label": match.label, "purpose": match.purpose, "arms": arms}
    progress({"kind": "match_started", **shown})


def announcement(study: Study, match: Match) -> MatchEvent:
    """Who plays on what, and under which settings."""
    task, config = study.task, study.config
    return MatchEvent(
        match_id=match.match_id,
        study_id=config.study_id,
        label=match.label,
        purpose=match.purpose,
        generation=match.generation,
        stream=match.stream,
        task=task.name,
        task_id=task.task_id,
        text_hash=task.text_hash or None,
        run_budget=config.run_budget,
        hardware_class=config.hardware_class,
        started_at=datetime.now(UTC).isoformat(),
        config=MatchConfig(task.direction, task.metric, task.unit, config.verify_seeds, config.fixed_steps),
        arms=tuple(MatchArm(arm.arm_id, arm.program.program_id, arm.role, arm.kin or None) for arm in match.arms),
    )


def measure_baseline(study: Study, executor: Executor, stream: Stream, match_id: str) -> float:
    """Mean metric of the untouched baseline over the shared fresh seeds of ``stream``; measured once a study."""
    seeds = [study.streams.seed(stream, "baseline", i) for i in range(study.config.baseline_seeds)]
    known, task = study.state.baselines, study.task.name
    jobs = [BaselineJob(stream, seed, task=study.away) for seed in seeds if (task, stream, seed) not in known]
    for result in executor.run(jobs):
        (m,) = result.measurements
        tell_findings(study, m, source_id=study.task.baseline().source_id, stream=stream)
        study.record(
            BaselineEvent(
                match_id=match_id,
                task=study.task.name,
                stream=stream,
                seed=m.seed,
                status=m.status,
                metric=m.metric,
                reason=m.reason,
                source_id=study.task.baseline().source_id,
                trust=m.trust,
                device_seconds_spent=m.spent_seconds,
                wall_seconds=m.wall_seconds,
            )
        )
    rows = [known.get((task, stream, seed)) for seed in seeds]
    if not all(rows):
        raise drained(study)
    values = [row.metric for row in rows if row and row.status == "ok" and row.metric is not None]
    if not values:
        raise TaskError(
            f"{study.task.folder}: its baseline fails on all {len(seeds)} seeds: {rows[0] and rows[0].reason}",
            hint=f"metaloop task check {shlex.quote(study.config.task)}",
        )
    return statistics.fmean(values)


def round_of(study: Study, match: Match, wanted: Mapping[str, int]) -> list[RunJob]:
    """The jobs that bring each arm to its wanted number of runs, seed by seed across the arms."""
    longest = max(wanted.values())
    return [
        run_job(study, match, arm, i) for i in range(longest) for arm in match.arms if i < wanted.get(arm.arm_id, 0)
    ]


def run_job(study: Study, match: Match, arm: Arm, index: int) -> RunJob:
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
        program_text=arm.program.text,
        run_seed=study.streams.seed(seeds_of, "run", match.label, index, *twin),
        stream=match.stream,
        budget=study.config.run_budget,
        researcher=study.config.researcher,
        verify_seeds=tuple(
            study.streams.seed(match.stream, "verify", run_id, k) for k in range(study.config.verify_seeds)
        ),
        luck=content_id("r", arm.kin, str(index)) if arm.kin else run_id,
        recorded=study.state.run(run_id).recorded,
        task=study.away,
    )


def settled(study: Study, job: RunJob) -> bool:
    """Whether the ledger holds all verifications of the run, which are the last that is written of it."""
    return len(study.state.run(job.run_id).verifications) >= len(job.verify_seeds)


def settle(study: Study, job: RunJob, arm: Arm, result: JobResult, baseline: float) -> None:
    """Turn a run's fresh measurements into verified gains and write them down.

    A run that ends at the baseline gains 0 where it was not trained again (`RunJob.fresh_seeds`); a source that fails
    under a fresh seed gains 0 there, and its status says so. Where nothing was trained there is no trust to tell, but
    for what ran without a sandbox.
    """
    if result.state != "finished":
        return
    measured = result.measurements
    if result.final_is_baseline and not job.fresh_seeds(untouched=True):
        trust = "" if study.config.sandbox else "unverified"
        measured = tuple(Measurement(seed, "baseline", baseline, "", trust, 0.0, 0.0) for seed in job.verify_seeds)
    for m in measured:
        if m.seed in study.state.run(job.run_id).verifications:
            continue
        gain = study.task.sign * (baseline - m.metric) if m.status == "ok" and m.metric is not None else 0.0
        final = result.run.final_source_id if result.run else None
        tell_findings(study, m, run_id=job.run_id, source_id=final, stream=job.stream)
        study.record(
            VerificationEvent(
                run_id=job.run_id,
                arm_id=arm.arm_id,
                program_id=arm.program.program_id,
                task=study.task.name,
                stream=job.stream,
                seed=m.seed,
                status=m.status,
                reason=m.reason,
                metric=m.metric,
                baseline_metric=baseline,
                gain=gain,
                trust=m.trust,
                device_seconds_spent=m.spent_seconds,
                wall_seconds=m.wall_seconds,
            )
        )


def tell_findings(study: Study, measured: Measurement, **about: str | None) -> None:
    """Before the row of the measurement itself: once that stands, it is not made again and these would be lost."""
    for text in measured.findings:
        study.record(FindingEvent.of_line(text, seed=measured.seed, **about))


def ended(study: Study, job: RunJob, result: JobResult) -> Mapping[str, Any]:
    """What is shown when a run ends."""
    return {
        "kind": "run_ended",
        "run_id": job.run_id,
        "arm_id": job.arm_id,
        "program": job.program_name,
        "gain": run_gain(study, job.run_id),
        "state": result.state,
        "run": result.run.to_record() if result.run else {},
    }


def scores(study: Study, match: Match) -> list[ArmScore]:
    """Each arm's verified gains so far, as the prefix of its seed list that has been settled."""
    return [ArmScore(arm.arm_id, arm.raced, gains_of(study, arm.arm_id)) for arm in match.arms]


def gains_of(study: Study, arm_id: str) -> tuple[float, ...]:
    gains: list[float] = []
    while (gain := run_gain(study, content_id("r", arm_id, str(len(gains))))) is not None:
        gains.append(gain)
    return tuple(gains)


def run_gain(study: Study, run_id: str) -> float | None:
    """Verified gain of a run: mean over its fresh training seeds; None while it is not settled."""
    run = study.state.run(run_id)
    return run.gain if len(run.verifications) >= study.config.verify_seeds else None
