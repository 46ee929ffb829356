"""Device time saved by a search on a fitted model of the task, and what its champion gains on the task itself.

python -m bench.fitted FILE [STUDIES] [RUNS] [TASK ...]      default: 2 studies on each of three tasks, 6 runs

For each task and seed: (1) `metaloop evolve --quick --from-scratch` on the task; (2) RUNS runs of stock on the task,
`task init --simulated --fitted` from these, and the same study on that model, which trains nothing. Then both champions
and stock play a match on the task under fresh seeds, judged by verified gains. Real training; one line for each pair is
appended to FILE, and those that FILE has are not made again.

Saved: device-seconds of the search of (1), its verifications included, over those of the runs of (2). Gains: mean over
pairs of the difference between the champions in units of stock's mean gain in the task's matches, with a t interval;
and each champion's mean gain in that unit.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from analysis.decision_text import interval
from analysis.statistics import mean_interval
from bench.common import TRIED, figure, go_on, kept, metaloop, sql
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

FIRST, MATCH_RUNS = 171, 2 if TRIED else 6
SPENT = """
SELECT (SELECT sum(device_seconds_charged) FROM runs WHERE stream = 'selection')
    + (SELECT coalesce(sum(device_seconds_spent), 0) FROM verifications WHERE stream = 'selection') AS seconds
"""


@dataclass(frozen=True)
class OnModel:
    """One pair of studies: device-seconds of each search, and the verified gains of the match."""

    task: str
    seed: int
    runs: int
    searched: float
    fitted: float
    real: list[float]
    model: list[float]
    stock: list[float]


def paired(job: tuple[str, int, int]) -> OnModel:
    name, seed, runs = job
    task = Task.load(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        budget = f"{16 * task.cost_seconds:.4f}s"
        study = ["--quick", "--from-scratch", "--harvest", "0", "--seed", str(seed), "-q"]
        metaloop("evolve", "-t", name, *study, "-s", str(folder / "real"))
        metaloop("match", "stock", "--no-controls", "-t", name, "-n", str(runs), "-b", budget, "--seed", str(seed),
                 "-s", str(folder / "runs"), "-q")  # fmt: skip
        metaloop("task", "init", str(folder / "model"), "--simulated", "--fitted", str(folder / "runs"))
        metaloop("evolve", "-t", str(folder / "model"), *study, "-s", str(folder / "modelled"))
        champions: dict[bytes, str] = {}  # each program is entered once, and stock is there anyway
        same: dict[str, bytes] = {}
        for which, where in (("real", "real"), ("model", "modelled")):
            text = (folder / where / "champion.md").read_bytes()
            (folder / f"{which}.md").write_bytes(text)
            if Program.parse(text.decode(), which).program_id != starter("stock").program_id:
                champions.setdefault(text, str(folder / f"{which}.md"))
            same[which] = text
        metaloop("match", *champions.values(), "stock", "--no-controls", "-t", name, "-n", str(MATCH_RUNS),
                 "-b", budget, "--seed", str(seed), "-s", str(folder / "match"), "-q")  # fmt: skip
        gains: dict[str, list[float]] = {"real": [], "model": [], "stock": []}
        for row in sql(folder / "match", "SELECT name, verified_gain FROM runs ORDER BY run_id"):
            gains[row["name"]].append(row["verified_gain"])
        gains["model"] = gains["model"] or gains["real" if same["model"] == same["real"] else "stock"]
        gains["real"] = gains["real"] or gains["stock"]
        [searched], [spent] = (sql(folder / where, SPENT) for where in ("real", "runs"))
        return OnModel(task.name, seed, runs, searched["seconds"], spent["seconds"], **gains)


def main(file: str, studies: int = 2, runs: int = 6, *tasks: str) -> None:
    path = Path(file)
    done = {(one.task, one.seed, one.runs) for one in kept(path, OnModel)}
    named = tasks or ("strokes", "tabular", "letters")
    jobs = [(name, seed, runs) for seed in range(FIRST, FIRST + studies) for name in named]
    go_on(path, paired, [job for job in jobs if (Task.load(job[0]).name, *job[1:]) not in done], 1)
    made = [one for one in kept(path, OnModel) if one.runs == runs]
    unit = {
        task: fmean(g for one in made if one.task == task for g in one.stock) for task in {one.task for one in made}
    }
    figure("device time of the search, on the task over on the model, median",
           f"{median(one.searched / one.fitted for one in made):.1f} of {len(made)} pairs", ">= 10")  # fmt: skip
    for which in ("real", "model"):
        figure(f"champion of the search on the {'task' if which == 'real' else which}, times stock",
               f"{fmean(fmean(getattr(one, which)) / unit[one.task] for one in made):.2f}")  # fmt: skip
    apart = mean_interval([(fmean(one.model) - fmean(one.real)) / unit[one.task] for one in made])
    figure("difference, times stock's gain", interval(apart), "lower bound about 0")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:])
