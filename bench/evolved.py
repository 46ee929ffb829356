"""Evolved on strokes and tinylm, tested on tasks that it never saw: champion over stock, with its ideas and without.

python -m bench.evolved FOLDER [SEEDS [HOME,… RESERVE,…]]      an hour a seed on two idle cores; resumable
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from analysis.ratios import Sides, mean_of_ratios
from analysis.statistics import Ratio, mean_interval, ratio
from bench.common import figure, metaloop, sql

HOME, RESERVE = ("strokes", "tinylm"), ("codelm", "microgpt", "optimizer")
RUNS = "SELECT task, role, verified_gain AS gain FROM runs WHERE stream = 'STREAM' ORDER BY run_id"
BASELINES = "SELECT task, metric FROM baselines WHERE stream = 'STREAM' AND metric IS NOT NULL ORDER BY task, seed"


def sides(study: Path, role: str, stream: str) -> dict[str, Sides]:
    """What one role gained beside stock, by task; all gains are taken to hold the error of the shared baseline."""
    gains: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in sql(study, RUNS.replace("STREAM", stream)):
        gains[row["task"], row["role"]].append(row["gain"])
    metrics: dict[str, list[float]] = defaultdict(list)
    for row in sql(study, BASELINES.replace("STREAM", stream)):
        metrics[row["task"]].append(row["metric"])
    tasks = sorted({task for task, held in gains if held == role})
    return {task: Sides(gains[task, role], gains[task, "control"], metrics[task]) for task in tasks}


def ratio_text(estimate: Ratio) -> str:
    value = "none" if estimate.ratio is None else f"{estimate.ratio:.2f}"
    lower = "any" if estimate.lower is None else f"{estimate.lower:.2f}"
    return f"{value} (at least {lower}; {estimate.n_top} runs, stock {estimate.n_bottom})"


def over_studies(ratios: list[float]) -> str:
    """A study is one draw: the interval is of means over further studies, whatever the runs within one say."""
    mean = mean_interval(ratios)
    return f"{mean.mean:.2f}" if mean.low is None else f"{mean.mean:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def main() -> None:
    folder, seeds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    home, reserve = sys.argv[3:5] if len(sys.argv) > 4 else (",".join(HOME), ",".join(RESERVE))
    whole: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(1, seeds + 1):
        study = folder / f"transfer-{seed}"
        tasks = ("--task", home, "--reserve", reserve)
        wall = metaloop("evolve", *tasks, "--quick", "--seed", str(seed), "-s", str(study), "-y")
        figure(f"study {seed}, wall_seconds", round(wall))
        for stream, name, goal in (("confirmation", "home", "1.4"), ("reserve", "never seen", "1.2, at least 1")):
            for role in ("champion", "without-ideas"):
                each = sides(study, role, stream)
                for task, one in each.items():
                    figure(
                        f"study {seed}, {role} on {task}", ratio_text(ratio(one.top, one.bottom, baseline=one.baseline))
                    )
                mean = mean_of_ratios(list(each.values()))
                figure(f"study {seed}, {role}, {name}", ratio_text(mean), goal)
                if mean.ratio is not None:
                    whole[role, name].append(mean.ratio)
    for (role, name), ratios in whole.items():
        figure(f"{role}, {name}, mean over {len(ratios)} studies", over_studies(ratios))


if __name__ == "__main__":
    main()
