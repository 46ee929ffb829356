"""How near results of a busy machine are to those of an idle one, by what limits a training.

python -m bench.load_ways [SOURCES] [SEEDS] [BUSY]      default 40 4 5; needs an idle machine

The untouched train.py of strokes and SOURCES edited ones are trained with SEEDS seeds each:
    idle, again   device time, nothing beside it; the second time with other seeds, which is what chance alone does
    load          device time, beside BUSY processes that never rest
    scaled        so too, the limit multiplied by how much slower a computation of a few milliseconds was just before
    steps         the task's number of steps
Of each way: the distance of its gains from the idle ones, in nats (root mean square), their rank correlation, how many
sources fail on one side only, and the 10% and 90% quantile of the steps of the untouched script.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from scipy.stats import spearmanr

from bench.clock import load, sources
from bench.common import figure
from trainer.data import DataStore
from trainer.experiment import Outcome, Spec, Trainer
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

SEED, REPEATS = 43, 5
Results = list[list[Outcome]]  # by source, the untouched one first, and seed


def reference() -> float:
    """CPU seconds of a small fixed computation of the same kind as training; the median of a few."""
    return median(_seconds() for _ in range(REPEATS))


def _seconds() -> float:
    torch.manual_seed(SEED)
    model = torch.nn.Sequential(torch.nn.Linear(256, 64), torch.nn.Tanh(), torch.nn.Linear(64, 10))
    batch, began = torch.randn(64, 256), time.process_time()
    for _ in range(4):
        model(batch).logsumexp(1).mean().backward()
    return time.process_time() - began


def trained(trainer: Trainer, every: Sequence[Source], seeds: Sequence[int], idle: float = 0.0) -> Results:
    """``idle``: seconds of the reference on an idle machine, where it scales the limit."""
    task, out = trainer.task, list[list[Outcome]]()
    for source in every:
        out.append([])
        for seed in seeds:
            slower = reference() / idle if idle else 1.0
            trainer.task = replace(task, budget_seconds=task.budget_seconds * slower)
            out[-1].append(trainer.run(Spec(source, seed)))
    trainer.task = task
    return out


def gains(results: Results) -> list[float]:
    """By edited source; NaN where a training failed."""
    untouched, *means = [
        fmean(one.metric if one.status == "ok" and one.metric is not None else np.nan for one in runs)
        for runs in results
    ]
    return [untouched - mean for mean in means]


def show(way: str, results: Results, idle: Results) -> None:
    ours, theirs = np.array(gains(results)), np.array(gains(idle))
    both = np.isfinite(ours) & np.isfinite(theirs)
    apart = float(np.sqrt(np.mean((ours - theirs)[both] ** 2)))
    ranks = float(spearmanr(ours[both], theirs[both]).statistic)
    one_sided = int(np.sum(np.isfinite(ours) != np.isfinite(theirs)))
    low, high = np.quantile([one.steps or 0 for one in results[0]], (0.1, 0.9))
    figure(
        way, f"{apart:.3f} nats, ranks {ranks:.3f}, {one_sided} of {len(ours)} fail once; {low:.0f} to {high:.0f} steps"
    )


def ways(task: Task, count: int, each: int, busy: int, folder: Path) -> Iterator[tuple[str, Results]]:
    streams = Streams.from_seed(SEED)
    every = [task.baseline(), *islice(sources(task, SEED), count)]
    seeds, others = ([streams.seed("search", "train", k, at) for k in range(each)] for at in range(2))
    data = DataStore(task, streams, folder)
    with Trainer(task, data) as trainer, Trainer(task, data, fixed_steps=True) as by_steps:
        reference()
        idle = reference()
        yield "idle", trained(trainer, every, seeds)
        yield "again", trained(trainer, every, others)
        yield "steps", trained(by_steps, every, seeds)
        with load(busy):
            yield "load", trained(trainer, every, seeds)
            yield "scaled", trained(trainer, every, seeds, idle)


def main() -> None:
    count, each, busy = (int(word) for word in (*sys.argv[1:4], *("40", "4", "5")[len(sys.argv) - 1 :]))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = dict(ways(Task.load("strokes"), count, each, busy, Path(folder)))
    for way, found in results.items():
        show(way, found, results["idle"])


if __name__ == "__main__":
    main()
