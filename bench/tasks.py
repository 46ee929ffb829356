"""How often the 95% intervals of a score over several tasks hold it: simulated contests, gains as they were measured.

    python -m bench.tasks [STUDIES]

Stock's gain on a task is 1 with a standard deviation of a third from run to run, as on the stroke task; entries gain
1.4 and .7 of it with as much spread. Each line: runs on each task, then how many of the intervals held the true score
of an entry, and the true difference of two entries; n: the contests in which stock's gain was told from 0 on every
task, of 4,000 unless told. It takes about ten seconds.
"""

from __future__ import annotations

import random
import sys

from analysis.statistics import mean_interval
from arena.contest.score import Scores

SPREAD = 1 / 3
ENTRIES = {"first": (1.4, 0.7), "second": (1.0, 1.2), "stock": (1.0, 1.0), "again": (1.0, 1.0)}
STUDIES = 4000


def covered(studies: int, runs: int, seed: int, tasks: int = 2) -> tuple[float, float, int]:
    """(share of intervals with the true score of an entry, with the true difference of two, contests that counted)."""
    rng = random.Random(seed)
    score = apart = tried = 0
    true = {entry: sum(gains[t % 2] for t in range(tasks)) / tasks for entry, gains in ENTRIES.items()}
    for _ in range(studies):
        cells = {
            entry: {str(t): mean_interval([rng.gauss(gains[t % 2], SPREAD) for _ in range(runs)]) for t in range(tasks)}
            for entry, gains in ENTRIES.items()
        }
        scores = Scores(cells, [str(t) for t in range(tasks)], ["stock", "again"])
        if not all(each.counts for each in scores.scales):
            continue
        tried += 1
        _, low, high = scores.interval("first")
        score += low is not None and high is not None and low <= true["first"] <= high
        _, low, high = scores.over("first", "second")
        apart += low is not None and high is not None and low <= true["first"] - true["second"] <= high
    return score / tried, apart / tried, tried


def main() -> None:
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    for tasks in (2, 4):
        for runs in (2, 4, 12):
            score, apart, n = covered(studies, runs, seed=runs, tasks=tasks)
            print(f"tasks {tasks}  runs {runs:2d}  score {score:.3f}  difference {apart:.3f}  n {n}", flush=True)


if __name__ == "__main__":
    main()
