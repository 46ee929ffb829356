"""Whether a study that starts from what other tasks taught ends with a better champion than one from scratch.

python -m bench.finetune FILE [STUDIES] [TASK ...]      default: 2 strokes tabular letters; runs go to FILE's folder

For each task and seed, `metaloop evolve --quick` with and without --from-scratch, both without a harvest, so that both
spend the same. Then both champions and stock play a match at the run budget of the studies, and one at four times that,
under fresh seeds, judged by verified gains. Real training; one line for each match is appended to FILE, and those that
FILE has are not made again.

Intervals: 10,000 resamples of the studies within each task and of the runs within each match. Ratios of mean gains,
each match divided by stock's mean gain over the task's matches at that budget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.common import TRIED, figure, go_on, kept, metaloop, sql
from meta.plan import quick
from trainer.task import Task

FIRST, RUNS, SEED, RESAMPLES = 161, 2 if TRIED else 6, 16, 10_000
BUDGETS = (1, 4)
GOALS = {1: ">= 1.1", 4: ""}
OVER_STOCK = {1: "", 4: ">= 1.25"}


@dataclass(frozen=True)
class Tuned:
    """Verified gains of the runs of one match."""

    task: str
    seed: int
    budgets: int
    learnt: list[float]
    scratch: list[float]
    stock: list[float]


@dataclass(frozen=True)
class Job:
    task: str
    seed: int
    budgets: int
    folder: str


def tuned(job: Job) -> Tuned:
    folder, task = Path(job.folder), Task.load(job.task)
    champions: dict[bytes, str] = {}  # the same program is entered once
    for name, flags in (("learnt", ()), ("scratch", ("--from-scratch",))):
        study = folder / f"{task.name}-{job.seed}-{name}"
        if not (study / "champion.md").is_file():
            words = ["-t", job.task, "--seed", str(job.seed), "-s", str(study), "--harvest", "0", *flags]
            metaloop("evolve", "--quick", *words, "-q")
        text, champion = (study / "champion.md").read_bytes(), folder / f"{name}-{task.name}-{job.seed}.md"
        champion.write_bytes(text)
        champions.setdefault(text, str(champion))
    match = folder / f"{task.name}-{job.seed}-x{job.budgets}"
    budget = f"{job.budgets * quick(task).run_budget:.4f}s"
    metaloop("match", *champions.values(), "stock", "--no-controls", "-t", job.task, "-n", str(RUNS), "-b", budget,
             "--seed", str(job.seed), "-s", str(match), "-q")  # fmt: skip
    gains: dict[str, list[float]] = {"learnt": [], "scratch": [], "stock": []}
    for row in sql(match, "SELECT name, verified_gain FROM runs ORDER BY run_id"):
        gains[row["name"].split("-")[0]].append(row["verified_gain"])
    gains["scratch"] = gains["scratch"] or gains["learnt"]
    return Tuned(task.name, job.seed, job.budgets, **gains)


def main(file: str, studies: int = 2, *tasks: str) -> None:
    path = Path(file)
    done = {(one.task, one.seed, one.budgets) for one in kept(path, Tuned)}
    jobs = [
        Job(task, seed, budgets, str(path.parent.resolve()))
        for seed in range(FIRST, FIRST + studies)
        for task in tasks or ("strokes", "tabular", "letters")
        for budgets in BUDGETS
        if (Task.load(task).name, seed, budgets) not in done
    ]
    go_on(path, tuned, jobs, 1)
    for budgets in BUDGETS:
        made = [one for one in kept(path, Tuned) if one.budgets == budgets]
        among = f"of {len(made)} matches on {len({one.task for one in made})} tasks"
        figure(f"x{budgets} budget, learnt over from scratch", f"{_ratio(made, 'scratch')} {among}", GOALS[budgets])
        figure(f"x{budgets} budget, learnt over stock", f"{_ratio(made, 'stock')} {among}", OVER_STOCK[budgets])


def _ratio(made: Sequence[Tuned], other: str) -> str:
    rng = np.random.default_rng(SEED)
    tasks = [[one for one in made if one.task == task] for task in sorted({one.task for one in made})]
    units = [float(np.mean([gain for one in own for gain in one.stock])) for own in tasks]

    def sums(draw: bool) -> float:
        top = bottom = 0.0
        for own, unit in zip(tasks, units, strict=True):
            for at in rng.integers(len(own), size=len(own)) if draw else range(len(own)):
                for share, gains in ((1, own[at].learnt), (0, getattr(own[at], other))):
                    value = float(np.mean(rng.choice(gains, len(gains)) if draw else gains)) / unit
                    top, bottom = top + share * value, bottom + (1 - share) * value
        return top / bottom if bottom > 0 else float("inf")

    low, high = np.quantile([sums(True) for _ in range(RESAMPLES)], [0.025, 0.975])
    return f"{sums(False):.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:])
