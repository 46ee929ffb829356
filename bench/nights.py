"""Nights of 96 experiments: what `metaloop improve` does with one, against the user's program running all night.

python -m bench.nights FILE [NIGHTS] [EXPERIMENTS] [MEMBERS] [FAMILY…]
default: 40 nights of 96, four members of each of three families

The user's program is prose, which the scripted researcher carries out as the plain loop. Each night is `improve` on one
member of a family, after the shipped knowledge without that family, with the device time of EXPERIMENTS full
experiments; and one run of the user's program with all of it. Real training; one line for each night is appended to
FILE, and those that FILE has are not made again. Members whose untouched script fails are passed over.

Figures: mean gain of the new program over that of the user's, from the runs of the trial, which chose nothing (10,000
resamples of the tasks and of the nights of each); and the share of nights whose train.py is at least as good as the one
of the plain loop, both trained again under fresh seeds (95%, Clopper and Pearson).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from bench.common import METALOOP, figure, go_on, kept, metaloop, sql
from trainer.variants import Variant, init_like

FAMILIES, FIRST, MEMBERS = ("tabular", "strokes", "letters"), 301, 4
SEED, RESAMPLES = 17, 10_000
PROGRAM = "# My loop\n\nChange one thing of train.py at a time. Keep a change if the loss is lower.\n"


@dataclass(frozen=True)
class Night:
    """Verified gains: of the runs of the new program and of the user's, of the best train.py, of the plain loop's."""

    family: str
    member: int
    night: int
    experiments: int
    trained: bool
    ours: list[float]
    own: list[float]
    best: float | None
    plain: float | None


def night(job: tuple[str, int, int, int]) -> Night:
    family, member, number, experiments = job
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = init_like(folder / f"{family}-{member}", Variant(family, member=member))
        (folder / "mine.md").write_text(PROGRAM)
        budget = f"{experiments * task.cost_seconds:.4f}s"
        common = ["-t", str(task.folder), "--seed", str(number), "-q", "-y"]
        words = ["improve", str(folder / "mine.md"), "--budget", budget, "--without", family, *common]
        done = subprocess.run(
            [METALOOP, *words, "-s", str(folder / "study")], capture_output=True, text=True, check=False
        )
        if "baseline fails" in done.stderr:
            return Night(*job, False, [], [], None, None)
        if done.returncode:
            raise RuntimeError(f"{family} {member}, night {number}: {done.stderr[-300:]}")
        metaloop("match", str(folder / "mine.md"), "--no-controls", "-n", "1", "-b", budget, *common,
                 "-s", str(folder / "plain"))  # fmt: skip
        gains: dict[str, list[float]] = {"champion": [], "control": []}
        for row in sql(folder / "study", "SELECT role, verified_gain AS gain FROM runs ORDER BY run_id"):
            gains[row["role"]].append(row["gain"])
        best = sql(folder / "study", "SELECT gain FROM harvest")
        [plain] = sql(folder / "plain", "SELECT verified_gain AS gain FROM runs")
        best_gain = best[0]["gain"] if best else None
        return Night(*job, True, gains["champion"], gains["control"], best_gain, plain["gain"])


def main(file: str, nights: int = 40, experiments: int = 96, members: int = MEMBERS, *families: str) -> None:
    families = families or FAMILIES
    path, each = Path(file), -(-nights // (len(families) * members))
    for family in families:
        member, complete = FIRST, 0
        while complete < members:
            for number in range(1, each + 1):
                made = {(one.family, one.member, one.night, one.experiments) for one in kept(path, Night)}
                if (family, member, number, experiments) not in made:
                    go_on(path, night, [(family, member, number, experiments)], 1)
            own = [one for one in kept(path, Night) if (one.family, one.member) == (family, member)]
            complete += all(one.trained for one in own)
            member += 1
    made = [one for one in kept(path, Night) if one.trained and one.experiments == experiments]
    tasks = [[one for one in made if (one.family, one.member) == key] for key in {(o.family, o.member) for o in made}]
    tasks.sort(key=lambda own: (own[0].family, own[0].member))
    figure(f"{len(made)} nights on {len(tasks)} tasks, new program over the user's", ratio(tasks), ">= 1.3, > 1")
    wins = [one.best >= one.plain for one in made if one.best is not None and one.plain is not None]
    share = binomtest(sum(wins), len(wins)).proportion_ci() if wins else None
    bounds = f" [{share.low:.2f}, {share.high:.2f}]" if share else ""
    figure("train.py at least as good as the plain loop's", f"{sum(wins)} of {len(wins)}{bounds}", ">= .8")


def ratio(tasks: Sequence[Sequence[Night]]) -> str:
    """Ratio of mean gains, each task's divided by the mean gain of the user's program there. An upper bound of "inf"
    says that its mean may be 0."""
    rng = np.random.default_rng(SEED)
    units = [float(np.mean([gain for one in own for gain in one.own])) for own in tasks]

    def once(picked: Sequence[tuple[Sequence[Night], float]]) -> float:
        top = sum(float(np.mean([g for one in own for g in one.ours])) / abs(unit) for own, unit in picked)
        bottom = sum(float(np.mean([g for one in own for g in one.own])) / abs(unit) for own, unit in picked)
        return top / bottom if bottom > 0 else float("inf")

    whole = list(zip(tasks, units, strict=True))
    if not all(units) or once(whole) == float("inf"):
        return "unknown, the user's program gained nothing"
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [whole[at] for at in rng.integers(len(whole), size=len(whole))]
        drawn.append(once([([own[i] for i in rng.integers(len(own), size=len(own))], unit) for own, unit in chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")  # nothing between a number and infinity
    return f"{once(whole):.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])
