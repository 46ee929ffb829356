"""Device utilization and fairness of a contest on 16 and on 1,024 devices, in simulated time.

python -m bench.cluster_simulated [SEEDS] [LARGE_SEEDS] [ENTRIES]    default 5 3 64; some 10 minutes
    `5 0`: no 1,024 devices. ENTRIES of each organization on 256 devices, where one thing is changed after the other.

What is assumed stands in `bench/simulation/world.py`; nodes have 8 devices and come back after 10 minutes (spread by
half), a run has 24 experiments of 5 minutes and 2 that verify it, 12 organizations have 16 runs each, on 1,024 devices
1,024 each, a day's work. One failure a minute among 128 nodes is one a node every 2 h 8 min. For comparison:
419 unexpected interruptions in 54 days on 16,384 GPUs (Llama 3, arXiv 2407.21783) are one a node of 8 every 264 days.
The time of thought is what makes 90 of 192 experiments an hour (blog.skypilot.co/scaling-autoresearch).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.common import figure
from bench.simulation.course import simulate
from bench.simulation.meter import Figures
from bench.simulation.world import Spread, World, think_for

THINK = Spread(think_for(90, 192), 0.5)
SMALL = World()
LARGE = World(nodes=128, entries=256, failure_seconds=60.0, ghosts=0.1)
QUARTER = World(
    nodes=32, entries=64, failure_seconds=240.0, ghosts=0.1
)  # as often a node; for the changes of one thing

SHARES = ("utilization", "before_tail", "wasted_share", "jain_first_hour", "jain_later", "jain", "spread_share")
REST = (
    "per_hour",
    "possible",
    "spread",
    "hours",
    "tail_hours",
    "wait_median",
    "wait_most",
    "deaths",
    "moved",
    "dropped",
)


def shown(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def simulate_seeds(name: str, world: World, seeds: int, goal: str = "") -> list[Figures]:
    """Simulate under the seeds 1, 2 … and print every figure. Exits where something was lost or counted twice."""
    began = time.perf_counter()
    made = [simulate(world, seed) for seed in range(1, seeds + 1)]
    print(f"\n## {name}   n={seeds}, {(time.perf_counter() - began) / seeds:.1f} s each", flush=True)
    for names, digits in ((SHARES, 3), (REST, 1)):
        for one in names:
            values = [float(getattr(ended, one)) for ended in made]
            figure(one, shown(values, digits), goal if one in ("utilization", "before_tail") else "")
    lost, twice = sum(ended.lost for ended in made), sum(ended.twice for ended in made)
    figure("lost, counted twice", f"{lost}, {twice}", "0, 0")
    if lost or twice:
        sys.exit("something was lost or counted twice")
    return made


def changed(name: str, world: World, seeds: int, changes: dict[str, Callable[[World], World]]) -> None:
    """A table: the median utilization with and without the tail where one thing is changed."""
    print(f"\n## {name}: what a change of one thing makes   n={seeds}\nutilization  before tail  hours  tail  change")
    for what, change in {"as above": lambda world: world, **changes}.items():
        made = [simulate(change(world), seed) for seed in range(1, seeds + 1)]
        columns = ("utilization", "before_tail", "hours", "tail_hours")
        whole, before, hours, tail = (statistics.median(getattr(one, column) for one in made) for column in columns)
        print(f"{whole:11.3f}  {before:11.3f}  {hours:5.1f}  {tail:4.1f}  {what}", flush=True)


SIZES: dict[str, Callable[[World], World]] = {
    "runs of 12 experiments, twice as many": lambda w: replace(w, experiments=12, entries=2 * w.entries),
    "runs of 48 experiments, half as many": lambda w: replace(w, experiments=48, entries=w.entries // 2),
    "three times the work": lambda w: replace(w, entries=3 * w.entries),
    "2 runs a device": lambda w: replace(w, runs_per_device=2),
    "4 runs a device": lambda w: replace(w, runs_per_device=4),
    "6 runs a device": lambda w: replace(w, runs_per_device=6),
    "a third of the runs in waves on 4 devices": lambda w: replace(w, waves=1 / 3),
    "experiments spread by .3": lambda w: replace(w, experiment=Spread(300.0, 0.3, 1.25)),
    "twice the time of thought": lambda w: replace(w, think=Spread(2 * THINK.mean, 0.5)),
}  # fmt: skip
DEATHS: dict[str, Callable[[World], World]] = {
    "no failures": lambda w: replace(w, failure_seconds=0.0),
    "a tenth of the failures": lambda w: replace(w, failure_seconds=10 * w.failure_seconds),
    "nodes of 4 devices, twice as many, as many failures": lambda w: replace(
        w, nodes=2 * w.nodes, devices_per_node=4
    ),
    "nodes of 16 devices, half as many, as many failures": lambda w: replace(
        w, nodes=w.nodes // 2, devices_per_node=16
    ),
    "repaired after 2 minutes": lambda w: replace(w, repair=Spread(120.0, 0.5)),
    "repaired after an hour": lambda w: replace(w, repair=Spread(3600.0, 0.5)),
    "a start-up of 5 minutes": lambda w: replace(w, start_seconds=300.0),
}  # fmt: skip


def main() -> None:
    seeds, large, entries = (int(word) for word in (sys.argv[1:] + ["5", "3", "64"][len(sys.argv) - 1 :]))
    thinking = replace(SMALL, think=THINK)
    simulate_seeds("16 devices, no thought, leased for a run", SMALL, seeds, ">= 0.95")
    simulate_seeds("16 devices, thought of 340 s, leased for a run: the public run", thinking, seeds)
    shared = replace(thinking, runs_per_device=3)
    simulate_seeds("16 devices, thought of 340 s, leased for an experiment, 3 runs a device", shared, seeds, ">= 0.95")
    changed("16 devices, 3 runs a device", shared, seeds, SIZES)
    failing = replace(QUARTER, think=THINK, runs_per_device=3, entries=entries)
    few = {name: SIZES[name] for name in list(SIZES)[:3]}
    changed("256 devices, a failure every 4 minutes, 3 runs a device", failing, 1, few | DEATHS)
    if large:
        failing = replace(LARGE, think=THINK)
        simulate_seeds("1,024 devices, a failure a minute, no thought, leased for a run", LARGE, large, ">= 0.90")
        simulate_seeds("1,024 devices, thought of 340 s, leased for a run", failing, large)
        shared = replace(failing, runs_per_device=3)
        simulate_seeds("1,024 devices, thought of 340 s, for an experiment, 3 runs a device", shared, large, ">= 0.90")
        simulate_seeds("the same with three days' work", replace(shared, entries=3 * LARGE.entries), 1, ">= 0.90")


if __name__ == "__main__":
    main()
