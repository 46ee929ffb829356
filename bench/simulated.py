"""Whole quick studies of planted tasks, through the real outer loop: how often a champion is confirmed, and how fast.

python -m bench.simulated [STUDIES] [WORKERS]      default 200 2; nothing is trained, studies lie in memory
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from bench.common import figure, share_interval
from bench.whole import quick_plan, whole_study
from meta.study.plan import Plan
from trainer.laws.law import Law
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task

EXPERIMENTS = 16
LAWS = 20  # tasks that the studies are spread over


@dataclass(frozen=True)
class Ended:
    """One study: the claim's figures, gains in the task's unit."""

    holds: bool
    champion: float
    stock: float
    difference: float
    cpu_seconds: float


@dataclass(frozen=True)
class Job:
    folder: str
    plan: Plan
    seed: int


def carry_out(job: Job) -> Ended:
    began = time.process_time()
    _, claim = whole_study(Task.load(job.folder), job.plan, job.seed)
    spent = time.process_time() - began
    return Ended(claim.holds, claim.champion.mean or 0.0, claim.stock.mean or 0.0, claim.tested.difference, spent)


def studies(laws: Sequence[Law], count: int, workers: int, plan: Plan | None = None) -> Iterator[Ended]:
    """``count`` studies with seeds 1, 2 …, by turns over the tasks of these laws; ``plan`` left out: quick."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [simulated_task(law, Path(folder) / f"task-{i}", experiments=EXPERIMENTS) for i, law in enumerate(laws)]
        size = plan or quick_plan(Task.load(tasks[0]))
        jobs = [Job(str(tasks[seed % len(tasks)]), size, seed) for seed in range(1, count + 1)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            held = 0
            for number, ended in enumerate(pool.map(carry_out, jobs), 1):
                held += ended.holds
                if number % 25 == 0:
                    print(f"{number} of {count} studies, {held} claims hold", file=sys.stderr, flush=True)
                yield ended


def share_figure(name: str, seen: Sequence[bool], goal: str = "") -> None:
    """A share with its 95% interval."""
    low, high = share_interval(sum(seen), len(seen))
    shown = f"{sum(seen)} of {len(seen)} = {sum(seen) / len(seen):.4f} [{low:.4f}, {high:.4f}]"
    figure(name, shown, goal)


def speed(made: Sequence[Ended], wall: float, workers: int) -> None:
    per_cpu = 60 / statistics.fmean(e.cpu_seconds for e in made)
    figure("studies_per_minute", f"{60 * len(made) / wall:.1f} with {workers} workers, {per_cpu:.1f} per CPU-minute")


def main() -> None:
    count, workers = (int(word) for word in (*sys.argv[1:], *("200", "2")[len(sys.argv) - 1 :]))
    figure("law", f"random_law(1 … {LAWS}): {random_law.__doc__.splitlines()[0] if random_law.__doc__ else ''}")
    began = time.monotonic()
    made = list(studies([random_law(seed) for seed in range(1, LAWS + 1)], count, workers))
    share_figure("confirmed", [e.holds for e in made])
    champion, stock = (statistics.fmean(getattr(e, side) for e in made) for side in ("champion", "stock"))
    figure("mean_gains", f"champion {champion:.4f}, stock {stock:.4f}, ratio of the two {champion / stock:.3f}")
    speed(made, time.monotonic() - began, workers)


if __name__ == "__main__":
    main()
