"""Whether evolution picks better champions by the credit of this code than by that of an earlier commit.

python -m bench.selection COMMIT [STUDIES] [WORKERS]      default 500 2; needs the git repository

The same planted tasks, plan (quick) and seeds are evolved by both, each in a process of its own; nothing is trained.
Verified gain of the champion in the confirmation, new minus old, in units of stock's mean gain on the task.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAWS = 20
FIRST = 80_001  # seed of the first study
GOAL = "lower bound >= -0.03"
ONE = """
import json, sys, tempfile
from pathlib import Path
from meta import plan
from meta.whole import whole_study
from trainer.planted import random_law, simulated_task
from trainer.task import Task
seed, laws = map(int, sys.argv[1:])
with tempfile.TemporaryDirectory() as place:
    task = Task.load(simulated_task(random_law(1 + seed % laws), Path(place) / "task", experiments=16))
    _, claim = whole_study(task, plan.quick(task), seed)
print(json.dumps([claim.champion.mean, claim.stock.mean]))
"""


def gains(tree: Path, seed: int) -> tuple[float, float]:
    """Champion's and stock's mean verified gain in one study by the code in ``tree``."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", ONE, str(seed), str(LAWS)]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    champion, stock = json.loads(ended.stdout)
    return champion, stock


def main() -> None:
    from analysis.statistics import mean_interval
    from bench.common import figure

    commit = sys.argv[1]
    count, workers = (int(word) for word in (*sys.argv[2:], *("500", "2")[len(sys.argv) - 2 :]))
    with tempfile.TemporaryDirectory() as place:
        old = Path(place) / "old"
        git = ["git", "-C", str(ROOT)]
        subprocess.run([*git, "worktree", "add", "-q", "--detach", str(old), commit], check=True)
        try:
            seeds = range(FIRST, FIRST + count)
            with ThreadPoolExecutor(workers) as pool:
                new = list(pool.map(lambda seed: gains(ROOT, seed), seeds))
                before = list(pool.map(lambda seed: gains(old, seed), seeds))
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(old)], check=True)
    stock: dict[int, list[float]] = {}
    for seed, pair in zip([*seeds, *seeds], [*new, *before], strict=True):
        stock.setdefault(seed % LAWS, []).append(pair[1])
    found = [
        (a[0] - b[0]) / statistics.fmean(stock[seed % LAWS]) for seed, a, b in zip(seeds, new, before, strict=True)
    ]
    mean = mean_interval(found)
    ends = f" [{mean.low:.3f}, {mean.high:.3f}]" if mean.low is not None and mean.high is not None else ""
    figure("champion's gain, new minus old, in stock's gains", f"{mean.mean:.3f}{ends} of {mean.n} studies", GOAL)
    for name, run in (("new", new), ("old", before)):
        figure(f"mean gain of champions, {name}", f"{statistics.fmean(pair[0] for pair in run):.4f}")


if __name__ == "__main__":
    main()
