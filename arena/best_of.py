"""Best of N: the best train.py of an arm's runs, chosen by the metric that the runs saw and measured again.

This answers another question than the arm's gain: what the same spend gives if only the best script of all its runs is
kept. The search metric overestimates the script that it selects, so the script is trained again under seeds that were
not used for selection. Nothing is tested with it.
"""

from __future__ import annotations

from analysis.events import BestOfEvent
from analysis.study import read_study
from analysis.tables import rows
from analysis.trust import weakest
from arena.arms import Arm, Match
from arena.drain import drained
from arena.executor import Executor
from arena.jobs import MeasureJob
from arena.measuring import gain_interval, gain_over_baseline, measure_baseline, record_findings
from arena.task_study import TaskStudy
from arena.verify_study import final_source

RUNS = """
SELECT run_id, claimed_gain, final_source_id FROM runs
WHERE arm_id = ? AND state = 'finished' AND claimed_gain IS NOT NULL ORDER BY claimed_gain DESC, run_id
"""


def best_of(on: TaskStudy, executor: Executor, match: Match, arm: Arm, seeds: int) -> BestOfEvent | None:
    """Select, measure again and record, once per arm; None where none of its runs finished.

    Raises Drained where the study is stopped meanwhile.
    """
    if arm.arm_id in on.state.best_of:
        return None
    with read_study(on.folder, views=(), tables=["runs"]) as con:
        runs = rows(con.execute(RUNS, [arm.arm_id]))
    if not runs:
        return None
    source = final_source(on.study, runs[0]["run_id"], runs[0]["final_source_id"], on.task)
    baseline = measure_baseline(on, executor, match.stream, match.match_id)
    fresh = [on.streams.seed(match.stream, "best-of", arm.arm_id, k) for k in range(seeds)]
    jobs = [
        MeasureJob(f"best-of-{arm.arm_id}-{seed}", source.files, match.stream, seed, task=on.task_id) for seed in fresh
    ]
    by_job = {result.job_id: result.measurements[0] for result in executor.run(jobs)}
    if len(by_job) < len(jobs):
        raise drained(on.study)
    measured = [by_job[job.job_id] for job in jobs]
    for m in measured:
        record_findings(on, m, source_id=source.source_id, stream=match.stream)
    mean = gain_interval(on, match.stream, [gain_over_baseline(on, baseline, m) for m in measured])
    event = BestOfEvent(
        match_id=match.match_id, arm_id=arm.arm_id, program_id=arm.program.program_id, role=arm.role,
        task=on.task.name, stream=match.stream, of=len(runs), run_id=runs[0]["run_id"],
        source_id=source.source_id, claimed_gain=runs[0]["claimed_gain"], gain=mean.mean, se=mean.se, low=mean.low,
        high=mean.high, n=mean.n, failed=sum(m.status != "ok" for m in measured),
        trust=weakest(m.trust for m in measured), device_seconds_spent=sum(m.spent_seconds for m in measured),
    )  # fmt: skip
    on.record(event)
    return event
