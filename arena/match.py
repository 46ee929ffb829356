"""A match: the arena runs each program on the same task, with the same run seeds, under an equal budget.

Rounds of runs follow each other until the racer asks for no more. A program is judged by what the arena measures of its
runs' results on seeds and data that the runs never saw. From any point that the ledger has reached, a match goes on.

Equal budget: `arena.measuring.run_job` gives every run the same device time, `inner_loop.meter` counts the spending,
and `inner_loop.bench` (`_affordable`) starts no experiment that the rest does not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import JsonValue

from analysis.ledger.events import MatchArm, MatchConfig, MatchEndedEvent, MatchEvent
from arena.arms import Match, TaskMatch
from arena.measuring import measure_baseline, run_gain, run_job, settle, settled, settled_gains, splits_of_runs
from arena.race import ArmScore, Racer
from arena.study.lock import request_stop
from arena.study.stop import drained
from arena.study.task_study import TaskStudy
from arena.work.executor import Executor, Progress, rebuild
from arena.work.jobs import ErrorRecord, JobResult, RunJob
from programs.common.text import in_turns
from trainer.constraints import records
from trainer.trust import weakest

Combine = Callable[[Sequence[list[ArmScore]]], list[ArmScore]]


def play(on: TaskStudy, executor: Executor, match: Match, racer: Racer, progress: Progress) -> list[ArmScore]:
    """Play a match to its end; returns the arms' verified gains."""
    return play_on_tasks([TaskMatch(on, match)], executor, racer, progress, lambda scores: scores[0])[0]


def play_on_tasks(
    matches: Sequence[TaskMatch], executor: Executor, racer: Racer, progress: Progress, combine: Combine
) -> list[list[ArmScore]]:
    """Play a match with the same arms on each of several tasks; returns the arms' verified gains on each.

    The racer sees one score for each arm, which ``combine`` makes of those on all tasks under the names of the first
    match's arms. The runs that it requests are made on every task.
    """
    for match in matches:
        announce(match.on, match.match, progress)
    while requested := racer.next_round(combine([scores(match) for match in matches])):
        play_round(matches, executor, requested, progress)
    for match in matches:
        end(match.on, match.match, progress)
    return [scores(match) for match in matches]


def play_round(
    matches: Sequence[TaskMatch],
    executor: Executor,
    requested: Mapping[str, int],
    progress: Progress,
) -> None:
    """Measure the untouched source where the runs will be verified, and bring each arm to its requested number of runs,
    on every task.

    Raises Drained where a stop was requested before the end of the round. After the runs in flight have ended,
    raises the first problem that would affect other runs, too.
    """
    first = [arm.arm_id for arm in matches[0].match.arms]
    jobs = {
        job.run_id: (job, number)
        for number, task_match in enumerate(matches)
        for job in jobs_of_round(task_match, first, requested)
        if not settled(task_match.on, job)
    }
    for task_match in matches:
        task_study, match = task_match.on, task_match.match
        splits = splits_of_runs(task_study, match, max(requested.values()))
        measure_baseline(task_study, executor, match.stream, match.match_id, splits)
    problem: ErrorRecord | None = None
    for result in executor.run([job for job, _ in jobs.values()]):
        job, number = jobs[result.job_id]
        task_match = matches[number]
        arm = next(arm for arm in task_match.match.arms if arm.arm_id == job.arm_id)
        settle(task_match.on, job, arm, result)
        progress(run_ended(task_match.on, job, result))
        if result.problem and problem is None:
            problem = result.problem
            request_stop(task_match.on.study.folder)
    if problem:
        raise rebuild(problem)
    if not all(settled(matches[number].on, job) for job, number in jobs.values()):
        raise drained(matches[0].on.study)


def jobs_of_round(each: TaskMatch, names: Sequence[str], requested: Mapping[str, int]) -> list[RunJob]:
    """The jobs of one task, seed by seed across the arms. ``names``: the arms' ids in ``requested``, in order."""
    return [
        run_job(each.on, each.match, arm, i)
        for i in range(max(requested.values()))
        for name, arm in zip(names, each.match.arms, strict=True)
        if i < requested.get(name, 0)
    ]


def announce(on: TaskStudy, match: Match, progress: Progress) -> None:
    """Record the match before any of its runs starts."""
    if match.match_id not in on.state.matches:
        on.record(announcement(on, match))
    arms: list[JsonValue] = [
        {
            "arm_id": arm.arm_id,
            "program_id": arm.program.program_id,
            "role": arm.role,
            "name": arm.names or arm.program.name,
        }
        for arm in match.arms
    ]
    about = {"match_id": match.match_id, "label": match.label, "purpose": match.purpose}
    progress({"kind": "match_started", **about, "arms": arms})


def announcement(on: TaskStudy, match: Match) -> MatchEvent:
    """The arms of a match, its task and its settings."""
    task, config = on.task, on.config
    return MatchEvent(
        match_id=match.match_id,
        study_id=config.study_id,
        label=match.label,
        purpose=match.purpose,
        generation=match.generation,
        stream=match.stream,
        task=task.name,
        task_id=task.task_id,
        run_budget=config.run_budget,
        hardware_class=config.hardware_class,
        started_at=datetime.now(UTC).isoformat(),
        config=MatchConfig(
            task.direction,
            task.metric,
            task.unit,
            config.seeds_on(match.stream),
            config.fixed_steps,
            records(task.constraints),
        ),
        arms=tuple(
            MatchArm(
                arm.arm_id,
                arm.program.program_id,
                arm.role,
                arm.paired_with or None,
                arm.names,
            )
            for arm in match.arms
        ),
    )


def end(on: TaskStudy, match: Match, progress: Progress) -> None:
    if match.match_id not in on.state.ended_matches:
        on.record(MatchEndedEvent(match_id=match.match_id, state="finished"))
    progress({"kind": "match_ended", "match_id": match.match_id, "label": match.label})


def run_ended(on: TaskStudy, job: RunJob, result: JobResult) -> Mapping[str, JsonValue]:
    """The line of progress when a run ends."""
    return {
        "kind": "run_ended",
        "run_id": job.run_id,
        "arm_id": job.arm_id,
        "program": in_turns([job.program_name, *(name for name, _ in job.beside)]),
        "gain": run_gain(on, job.run_id),
        "unit": on.task.unit,
        "trust": weakest(each.trust for each in on.state.run(job.run_id).verifications.values()),
        "state": result.state,
        "run": result.run.to_record() if result.run else {},
    }


def scores(each: TaskMatch) -> list[ArmScore]:
    """Each arm's verified gains so far, in the order of its list of seeds."""
    return [ArmScore(arm.arm_id, arm.raced, settled_gains(each.on, arm.arm_id)) for arm in each.match.arms]
