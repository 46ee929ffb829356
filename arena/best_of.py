"""Best-of-N: the best train.py that an arm's runs found, by the metric that they saw, measured afresh.

Another question than the arm's gain: what the same spend finds if one keeps a single script of all its runs. The search
metric picks, and flatters its pick; so the source is trained anew under seeds that picked nothing. It tests nothing.
"""

from __future__ import annotations

from analysis.events import BestOfEvent
from analysis.statistics import mean_interval
from analysis.study import open_study
from analysis.tables import rows
from analysis.trust import weakest
from arena.arms import Arm, Match
from arena.drain import drained
from arena.executor import Executor
from arena.jobs import MeasureJob
from arena.measuring import measure_baseline, record_findings
from arena.task_study import TaskStudy
from arena.verify_study import final_source

RUNS = """
SELECT run_id, claimed_gain, final_source_id FROM runs
WHERE arm_id = ? AND state = 'finished' AND claimed_gain IS NOT NULL ORDER BY claimed_gain DESC, run_id
"""


def best_of(on: TaskStudy, executor: Executor, match: Match, arm: Arm, seeds: int) -> BestOfEvent | None:
    """Pick, re-measure and write down, once for an arm; None where none of its runs ended.

    Raises Drained where the study is stopped meanwhile.
    """
    if arm.arm_id in on.state.best_of:
        return None
    with open_study(on.folder, views=()) as con:
        runs = rows(con.execute(RUNS, [arm.arm_id]))
    if not runs:
        return None
    source = final_source(on.study, runs[0])
    baseline = measure_baseline(on, executor, match.stream, match.match_id)
    fresh = [on.streams.seed(match.stream, "best-of", arm.arm_id, k) for k in range(seeds)]
    jobs = [
        MeasureJob(f"best-of-{arm.arm_id}-{seed}", source.files, match.stream, seed, task=on.task_id) for seed in fresh
    ]
    found = {result.job_id: result.measurements[0] for result in executor.run(jobs)}
    if len(found) < len(jobs):
        raise drained(on.study)
    measured = [found[job.job_id] for job in jobs]
    for m in measured:
        record_findings(on, m, source_id=source.source_id, stream=match.stream)
    gains = [on.task.sign * (baseline - m.metric) if m.status == "ok" and m.metric is not None else 0.0
             for m in measured]  # fmt: skip
    mean = mean_interval(gains)
    told = BestOfEvent(
        match_id=match.match_id, arm_id=arm.arm_id, program_id=arm.program.program_id, role=arm.role,
        task=on.task.name, stream=match.stream, of=len(runs), run_id=runs[0]["run_id"],
        source_id=source.source_id, claimed_gain=runs[0]["claimed_gain"], gain=mean.mean, se=mean.se, low=mean.low,
        high=mean.high, n=mean.n, failed=sum(m.status != "ok" for m in measured),
        trust=weakest(m.trust for m in measured), device_seconds_spent=sum(m.spent_seconds for m in measured),
    )  # fmt: skip
    on.record(told)
    return told
