"""What a prior is worth: quick studies of planted tasks without one, with one of the same task, and of another one.

python -m bench.prior [TASKS] [WORKERS]      default 40 2; nothing is trained, studies lie in memory
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from analysis.statistics import mean_interval
from bench.common import figure
from bench.simulated import EXPERIMENTS, share_figure
from bench.whole import quick_plan, whole_study
from meta.claim import Claim
from meta.prior import gather
from trainer.planted import random_law, simulated_task
from trainer.task import Task

OTHER = 5000  # added to a law's seed: another task of the same knobs, whose values are worth something else
KINDS = ("none", "same task", "another task")


@dataclass(frozen=True)
class Job:
    folder: str
    seed: int


def carry_out(job: Job) -> dict[str, Claim]:
    """The claims of three studies of one task and one seed, which differ by what they start from."""
    root = Path(job.folder)
    tasks = {}
    for name, seed in (("home", job.seed), ("other", job.seed + OTHER)):
        tasks[name] = Task.load(simulated_task(random_law(seed), root / name, name=name, experiments=EXPERIMENTS))
    size = quick_plan(tasks["home"])
    for name, task in tasks.items():
        whole_study(task, size, job.seed, root / f"past-{name}")
    claims = {}
    for kind, past in zip(KINDS, ([], ["past-home"], ["past-other"]), strict=True):
        known = gather([root / name for name in past]) if past else None
        folder = root / f"new-{kind.replace(' ', '-')}"
        _, claims[kind] = whole_study(tasks["home"], size, job.seed + 1, folder, known=known)
    return claims


def main() -> None:
    count, workers = (int(word) for word in (*sys.argv[1:], *("40", "2")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as root:
        jobs = [Job(f"{root}/{seed}", seed) for seed in range(1, count + 1)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            made = list(pool.map(carry_out, jobs))
    for kind in KINDS:
        share_figure(f"confirmed, prior: {kind}", [claims[kind].holds for claims in made])
        ratios = [claims[kind].champion.mean / claims[kind].stock.mean for claims in made if claims[kind].stock.mean]
        figure(f"champion over stock, prior: {kind}", f"median {statistics.median(ratios):.3f} of {len(ratios)}")
    for kind in KINDS[1:]:
        apart = [claims[kind].champion.mean - claims["none"].champion.mean for claims in made]
        difference = mean_interval(apart)
        ends = "one task has none" if difference.low is None else f"{difference.low:+.4f}, {difference.high:+.4f}"
        figure(f"champion's gain, {kind} minus none", f"{difference.mean:+.4f} [{ends}]")


if __name__ == "__main__":
    main()
