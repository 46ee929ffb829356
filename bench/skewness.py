"""How skewed the noise of a task really is: stock's verified gains, and its final sources under many fresh seeds.

python -m bench.skewness TASK [RUNS] [SEEDS] [EXPERIMENTS]      default 40 6 16; real training, in fixed-step mode

Runs of the stock program, one worker. Skewness, with 95% bootstrap intervals: of the gains of runs as a study takes
them (the mean of two seeds), and of the seeds' deviations from the median of their run. A seed counts as diverged where
it lies more than ten robust standard deviations below that median; a failed one gains exactly 0. Both are counted, and
the skewness is shown with and without diverged seeds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.study import query
from arena.arms import Entry
from arena.setup import StudySetup
from arena.standalone import play_entries
from arena.study import Study
from bench.common import figure
from programs.shelf import starter
from trainer.task import Task

FAR = 10.0  # robust standard deviations
VERIFIED = 2  # seeds that a study verifies a run by
SEED = 5


def skewness(values: Sequence[float]) -> float:
    """Of the sample, by its moments; 0 where all values are equal."""
    off = np.array(values) - np.mean(values)
    spread = float((off**2).mean())
    return float((off**3).mean()) / spread**1.5 if spread > 0 else 0.0


def skewness_figure(name: str, values: Sequence[float]) -> None:
    rng = np.random.Generator(np.random.PCG64(SEED))
    again = [skewness(rng.choice(values, len(values)).tolist()) for _ in range(2000)]
    low, high = np.quantile(again, (0.025, 0.975))
    figure(f"skewness, {name}", f"{skewness(values):.2f} [{low:.2f}, {high:.2f}] of {len(values)}")


def measured(task: Task, runs: int, seeds: int, experiments: int, folder: Path) -> tuple[list[list[float]], int]:
    """Gains by run and seed, and how many of the seeds failed."""
    study = Study.create(
        folder,
        StudySetup(
            task=task,
            run_budget=experiments * task.steps * task.seconds_per_step,
            command="match",
            workers=1,
            seed=SEED,
            fixed_steps=True,
            verify_seeds=seeds,
        ),
    )
    play_entries(study, [Entry(starter("stock"), "control")], runs, lambda _: None)
    rows = query(
        folder, "SELECT run_id, status, gain FROM verifications WHERE status <> 'baseline' ORDER BY run_id, seed"
    )
    gains: dict[str, list[float]] = {}
    for row in rows:
        gains.setdefault(row["run_id"], []).append(row["gain"])
    return list(gains.values()), sum(row["status"] != "ok" for row in rows)


def main() -> None:
    name, *words = sys.argv[1:]
    runs, seeds, experiments = (int(word) for word in (*words, *("40", "6", "16")[len(words) :]))
    task = Task.load(name)
    with tempfile.TemporaryDirectory() as folder:
        gains, failed = measured(task, runs, seeds, experiments, Path(folder) / "study")
    strays = [[gain - float(np.median(run)) for gain in run] for run in gains]
    robust = 1.4826 * float(np.median(np.abs([off for run in strays for off in run if off])))
    diverged = [[off < -FAR * robust for off in run] for run in strays]
    of = sum(map(len, gains))
    figure(
        "task", f"{task.name}, {len(gains)} of {runs} runs of stock changed anything, {experiments} experiments each"
    )
    figure("seeds", f"{of}: {failed} failed, {sum(map(sum, diverged))} diverged")
    figure(
        "sd", f"between runs {np.std([np.mean(run) for run in gains], ddof=1):.4g}, robust between seeds {robust:.4g}"
    )
    skewness_figure("runs", [float(np.mean(run[:VERIFIED])) for run in gains])
    skewness_figure("seeds", [off for run in strays for off in run])
    kept = [[g for g, far in zip(run, out, strict=True) if not far] for run, out in zip(gains, diverged, strict=True)]
    skewness_figure("runs, without diverged seeds", [float(np.mean(run[:VERIFIED])) for run in kept if run])
    skewness_figure("seeds, without those that diverged", [g - float(np.median(run)) for run in kept for g in run])


if __name__ == "__main__":
    main()
