"""The harvest of quick studies against other uses of the same device time: best of N stock runs, one long TPE search,
one long elite search.

python -m bench.harvest FILE [STUDIES] [EXPERIMENTS] [PERCENT] [TASK…]
default: 5 studies on each task, 16 experiments a run, the share of --quick (-1), two members of each family

Each study is `metaloop evolve --quick`. Its device time is then spent again on each of the other uses, and all four
gains are those of one train.py under fresh seeds on data that chose nothing. Real training; one line for each study is
appended to FILE, and those that FILE has are not made again. A member whose untouched script fails is replaced by the
next.

Ratios: of mean gains on each task, then the mean over tasks, because units differ. The best is the other use with the
highest mean gain on each task, found anew in each resample, which favours it. Intervals: 10,000 resamples of the tasks
and of the studies within each task.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arena.after.harvest import Search, untouched
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors import executor_of
from bench.common import METALOOP, figure, go_on, kept, over_tasks, sql, tried
from trainer.task import Task
from trainer.variants import init_like

FAMILIES, FIRST, MEMBERS, STUDIES, EXPERIMENTS = ("tabular", "strokes", "letters"), 201, 2, 5, 16
RESAMPLES, SEED = 10_000, 16
OTHERS = {
    "same-spend": "best of N stock runs",
    "long-tpe": "one long TPE search",
    "long-elite": "one long elite search",
}


LONG_TPE = "---\nmetaloop:\n  proposers: {tpe: 1}\n---\n# One long TPE search\n"
# Device-seconds charged to the runs on the task and spent to measure them, and the budget of a run.
SPENT = """
WITH played AS (SELECT run_id, device_seconds_charged, device_seconds_budget FROM runs
    WHERE purpose IS DISTINCT FROM 'ablation' AND stream IS DISTINCT FROM 'reserve')
SELECT coalesce((SELECT sum(device_seconds_charged) FROM played), 0.0)
    + coalesce((SELECT sum(device_seconds_spent) FROM verifications WHERE run_id IN (SELECT run_id FROM played)), 0.0)
    + coalesce((SELECT sum(device_seconds_charged) FROM harvest_experiments), 0.0)
    + coalesce((SELECT sum((record ->> 'device_seconds_spent')::DOUBLE) FROM events WHERE kind = 'baseline'), 0.0)
    AS spent, (SELECT max(device_seconds_budget) FROM played) AS run_budget
"""
# Of the runs of one program: the gain of the script with the best claim, on seeds and data that did not choose it.
BEST = (
    "SELECT verified_gain AS gain FROM runs WHERE claimed_gain IS NOT NULL ORDER BY claimed_gain DESC, run_id LIMIT 1"
)


@dataclass(frozen=True)
class Harvested:
    """One study: the verified gain of each train.py, in the task's unit, and the study's device-seconds."""

    task: str
    study: int
    experiments: int
    percent: int
    trained: bool
    gains: dict[str, float | None]
    spent: float


Job = tuple[str, int, int, int]  # as the fields of the line


def harvested(job: Job) -> Harvested:
    name, number, experiments, percent = job
    with tempfile.TemporaryDirectory() as folder:
        task = _task(name, Path(folder))
        study = Path(folder) / "study"
        same = ["-t", str(task.folder), "--seed", str(number), "-j", "2", "-y"]
        play = ["evolve", "--quick", *same, "-b", f"{experiments * task.cost_seconds:.4f}s", "-s", str(study)]
        play += [] if percent < 0 else ["--set", f"harvest={percent}"]
        done = subprocess.run([METALOOP, *tried(play)], capture_output=True, text=True, check=False)
        if done.returncode:
            problem = f"{name}, study {number}: {done.stderr.strip()[-300:]}"
            if "baseline fails" not in done.stderr:
                raise RuntimeError(problem)
            print(problem, file=sys.stderr)
            return Harvested(name, number, experiments, percent, False, {}, 0.0)
        (Path(folder) / "long-tpe.md").write_text(LONG_TPE)
        [total] = sql(study, SPENT)
        spent, budget = total["spent"], total["run_budget"]
        runs = max(1, int(spent / budget * (1 + 1e-9)))
        gains = {row["search"]: row["gain"] for row in sql(study, "SELECT search, gain FROM harvest")}
        gains["long-elite"] = long_elite(study, spent)
        for use, program, n, seconds in (
            ("same-spend", "stock", runs, budget),
            ("long-tpe", f"{folder}/long-tpe.md", 1, spent),
        ):
            there = str(Path(folder) / use)
            play = ["match", program, "--no-controls", "-n", str(n), "-b", f"{seconds:.4f}s", "-s", there, *same]
            subprocess.run([METALOOP, *play], capture_output=True, text=True, check=True)
            gains[use] = sql(Path(there), BEST)[0]["gain"]
        return Harvested(name, number, experiments, percent, True, gains, spent)


def long_elite(folder: Path, seconds: float) -> float | None:
    """The gain of the same search from the untouched script, with the device time of the whole study."""
    study = Study.open(folder)
    with study, executor_of(study, lambda _: None) as executor:
        on = TaskStudy(study)
        return Search(on, executor, "long-elite").winner(seconds, lambda: [untouched(on.task)]).gain


def _task(name: str, folder: Path) -> Task:
    """A task's folder, or ``family-member``."""
    if Path(name).is_dir():
        return Task.load(name)
    family, _, member = name.rpartition("-")
    return init_like(folder / name, family, int(member))


def main(file: str, studies: int = STUDIES, experiments: int = EXPERIMENTS, percent: int = -1, *named: str) -> None:
    path, begun = Path(file), (experiments, percent)
    for name in named:
        _go_on(path, name, studies, begun)
    for family in () if named else FAMILIES:
        member, complete = FIRST, 0
        while complete < MEMBERS:
            complete += _go_on(path, f"{family}-{member}", studies, begun)
            member += 1
    lines = [one for one in kept(path, Harvested) if (one.experiments, one.percent) == begun and one.trained]
    tasks = sorted({one.task for one in lines})
    table = [
        np.array([[one.gains[use] for use in ("harvest", *OTHERS)] for one in lines if one.task == task])
        for task in tasks
    ]
    for task, gains in zip(tasks, table, strict=True):
        figure(
            f"{Path(task).name}, mean gains of harvest, {', '.join(OTHERS)}",
            " ".join(f"{g:.3f}" for g in gains.mean(0)),
        )
    counted = f"{len(tasks)} tasks, {len(lines)} studies"
    for at, what in enumerate(OTHERS.values(), 1):
        figure(f"{counted}, harvest over {what}", _ratio(table, [at]))
    figure(f"{counted}, harvest over the best of them", _ratio(table, [1, 2, 3]), ">= 1.0, lower bound >= .98")


def _go_on(path: Path, name: str, studies: int, begun: tuple[int, int]) -> bool:
    """Bring a task to its number of studies; False if its untouched script fails."""
    for number in range(1, studies + 1):
        known = [one for one in kept(path, Harvested) if (one.task, one.experiments, one.percent) == (name, *begun)]
        if any(not one.trained for one in known):
            return False
        if number not in {one.study for one in known}:
            go_on(path, harvested, [(name, number, *begun)], 1)
    return all(one.trained for one in kept(path, Harvested) if one.task == name)


def _ratio(table: Sequence[np.ndarray], others: Sequence[int]) -> str:
    """The mean over tasks of harvest over the best of ``others``, with a 95% interval."""

    def once(tasks: Sequence[np.ndarray]) -> float:
        means = [gains.mean(0) for gains in tasks]
        best = [max(mean[at] for at in others) for mean in means]
        return float(np.mean([mean[0] / top if top > 0 else np.inf for mean, top in zip(means, best, strict=True)]))

    return over_tasks(table, once, SEED, RESAMPLES)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])
