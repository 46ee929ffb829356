"""What a second device does for a run whose program screens in waves of 12, on strokes, with the real trainer.

    python -m bench.waves [-n 5] [-k 2] [--budget SECONDS] [--task strokes]

The same runs with 1 device and with k, one after the other, n times each, templates warm, no cache, no repository.
First with --fixed-steps, where both do the very same work: the wall of the one over the wall of the other, and the
CPU-seconds that the same experiments took. Then charged by measured CPU-seconds: how many experiments the budget buys,
and what one costs. No run can be faster than k times; its waves' share of the wall says how near it can come.
Each pair is told on stderr as it ends.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common import appended, figure, ratio
from inner_loop.result import RunResult
from inner_loop.run import run
from programs.shelf import starter
from trainer.data import DataStore
from trainer.devices import Devices
from trainer.experiment import Trainer
from trainer.streams import Streams
from trainer.task import Task

PROGRAM = "screen-waves"
MEASURED = (
    "device_seconds_spent", "wall_seconds", "peak_memory_mb", "started_at", "training_seconds", "prediction_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Played:
    result: RunResult
    events: list[dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == "experiment"]

    @property
    def in_waves(self) -> float:
        """Share of the experiments' wall seconds in screening waves, where they could be side by side."""
        waves = sum(row["wall_seconds"] for row in self.rows if row["fraction"] < 1)
        return float(waves / sum(row["wall_seconds"] for row in self.rows))

    def comparable_events(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in event.items() if k not in MEASURED} for event in self.events]


def play(devices: Devices, seed: int, budget: float) -> Played:
    events: list[dict[str, Any]] = []
    emit = appended(events)
    result = run(
        starter(PROGRAM), devices.trainer, run_id=f"r{seed}", run_seed=seed, streams=devices.trainer.data.streams,
        budget_seconds=budget, emit=emit, folder=None, devices=devices,
    )  # fmt: skip
    return Played(result, events)


def pairs(task: Task, data: DataStore, many: int, n: int, budget: float, fixed: bool) -> list[tuple[Played, Played]]:
    """(with one device, with many), n times, taking turns at going first."""
    with Trainer(task, data, fixed_steps=fixed) as trainer, Devices(trainer, many) as several:
        one = Devices(trainer, 1)  # the first of them, alone
        play(several, 0, budget / 2)  # warms every template up
        played_pairs = []
        for seed in range(1, n + 1):
            first, second = (one, several) if seed % 2 else (several, one)
            played = [play(first, seed, budget), play(second, seed, budget)]
            played_pairs.append((played[0], played[1]) if seed % 2 else (played[1], played[0]))
            walls = " and ".join(f"{each.result.wall_seconds:.1f}" for each in played_pairs[-1])
            kind = "fixed steps" if fixed else "measured"
            print(f"{kind}, pair {seed} of {n}: {walls} s", file=sys.stderr, flush=True)
    return played_pairs


def report(played_pairs: Sequence[tuple[Played, Played]], many: int, name: str) -> None:
    each = [[p.result for p in pair] for pair in played_pairs]
    for index, devices in enumerate((1, many)):
        wall = ratio([pair[index].wall_seconds for pair in each], 2)
        figure(f"{name}: wall of a run with {devices}, s", wall)
        figure(f"{name}: experiments with {devices}", ratio([pair[index].experiments for pair in each], 0))
    figure(f"{name}: wall with 1 over wall with {many}", ratio([a.wall_seconds / b.wall_seconds for a, b in each]))
    figure(f"{name}: charged with {many} over charged with 1", ratio([b.charged / a.charged for a, b in each]))
    cost = [[p.spent / p.experiments for p in pair] for pair in each]
    figure(f"{name}: CPU-s an experiment, {many} over 1", ratio([b / a for a, b in cost]))
    waves = statistics.median(pair[0].in_waves for pair in played_pairs)
    figure(f"{name}: share of the wall in waves, with 1", round(waves, 3))
    figure(f"{name}: at most so many times faster", round(1 / (1 - waves + waves / many), 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("-k", type=int, default=2)
    parser.add_argument("--budget", type=float, help="device-seconds of a run (default: half of the task's own)")
    parser.add_argument("--task", default="strokes")
    given = parser.parse_args()
    task = Task.load(given.task)
    budget = given.budget or task.run_budget / 2
    with tempfile.TemporaryDirectory(prefix="metaloop-waves-") as folder:
        data = DataStore(task, Streams.from_seed(11), Path(folder))
        fixed = pairs(task, data, given.k, given.n, budget, True)
        report(fixed, given.k, "fixed steps")
        same = sum(a.comparable_events() == b.comparable_events() for a, b in fixed)
        figure("fixed steps: runs that end with the same bits", f"{same} of {len(fixed)}", f"{len(fixed)}")
        report(pairs(task, data, given.k, given.n, budget, False), given.k, "measured")


if __name__ == "__main__":
    main()
