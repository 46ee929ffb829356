"""Whether evolution picks better champions by the credit of this code than by that of an earlier commit.

python -m bench.selection COMMIT FILE [STUDIES] [WORKERS] [TASK]      default 500 2; needs the git repository

The same planted tasks, plan (quick) and seeds are evolved by both, each in a process of its own; nothing is trained.
With TASK its scripts are really trained, by `metaloop evolve --quick -j 1` (here without what was learnt on other tasks
and without a harvest, which the earlier code does not have).
Each pair is one line appended to FILE; those that FILE has are not made again. Verified gain of the champion in the
confirmation, new minus old, in units of stock's mean gain on the task.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.common import checked_out, figure, go_on, kept, mean_of

ROOT = Path(__file__).resolve().parents[1]
LAWS = 20
FIRST = 80_001  # seed of the first study
GOAL = "lower bound >= -0.03"
ONE = """
import json, sys, tempfile
from pathlib import Path
try:
    from bench.whole import whole_study
except ImportError:  # where an earlier commit has it
    from meta.whole import whole_study
try:
    from bench.whole import quick_plan
except ImportError:
    from meta.study.plan import quick as quick_plan
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task
seed, laws = map(int, sys.argv[1:])
with tempfile.TemporaryDirectory() as place:
    task = Task.load(simulated_task(random_law(1 + seed % laws), Path(place) / "task", experiments=16))
    _, claim = whole_study(task, quick_plan(task), seed)
print(json.dumps([claim.champion.mean, claim.stock.mean]))
"""
REAL = """
import contextlib, json, sys, tempfile
from pathlib import Path
from analysis.study import query
from meta.cli.main import run
task, seed, *more = sys.argv[1:]
with tempfile.TemporaryDirectory() as place:
    study = str(Path(place) / "study")
    with contextlib.redirect_stdout(sys.stderr):
        code = run(["evolve", "--quick", "-t", task, "--seed", seed, "-s", study, "-j", "1", *more])
    if code:
        sys.exit(code)
    gains = "SELECT role, avg(verified_gain) AS gain FROM runs WHERE stream = 'confirmation' GROUP BY role"
    found = {row["role"]: row["gain"] for row in query(study, gains)}
print(json.dumps([found["champion"], found["control"]]))
"""
WITHOUT = ("--set", "knowledge=none", "--set", "harvest=0")


@dataclass(frozen=True)
class Pair:
    """One seed by both codes: verified gains of the champion and of stock, in metric units."""

    seed: int
    new: tuple[float, float]
    old: tuple[float, float]


@dataclass(frozen=True)
class Job:
    seed: int
    old: Path
    task: str = ""


def make(job: Job) -> Pair:
    return Pair(job.seed, gains(ROOT, job, WITHOUT), gains(job.old, job))


def gains(tree: Path, job: Job, more: tuple[str, ...] = ()) -> tuple[float, float]:
    """Champion's and stock's mean verified gain in one study by the code in ``tree``."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    script = [REAL, job.task, str(job.seed), *more] if job.task else [ONE, str(job.seed), str(LAWS)]
    command = [sys.executable, "-P", "-c", *script]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    champion, stock = json.loads(ended.stdout)
    return champion, stock


def main() -> None:
    commit, file = sys.argv[1], Path(sys.argv[2])
    count, workers = (int(word) for word in (*sys.argv[3:5], *("500", "2")[len(sys.argv) - 3 :]))
    task = next(iter(sys.argv[5:]), "")
    done = {pair.seed for pair in kept(file, Pair)}
    with checked_out(commit) as old:
        seeds = [seed for seed in range(FIRST, FIRST + count) if seed not in done]
        go_on(file, make, [Job(seed, old, task) for seed in seeds], workers)
    show(kept(file, Pair), 1 if task else LAWS)


def show(pairs: list[Pair], laws: int) -> None:
    stock: dict[int, list[float]] = {}
    for pair in pairs:
        stock.setdefault(pair.seed % laws, []).extend((pair.new[1], pair.old[1]))
    apart = mean_of([(p.new[0] - p.old[0]) / statistics.fmean(stock[p.seed % laws]) for p in pairs])
    figure("champion's gain, new minus old, in stock's gains", f"{apart} studies", GOAL)
    for name in ("new", "old"):
        figure(f"mean gain of champions, {name}", f"{statistics.fmean(getattr(p, name)[0] for p in pairs):.4f}")


if __name__ == "__main__":
    main()
