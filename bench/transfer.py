"""Whether edits are sorted rightly by the tasks on which they help.

python -m bench.transfer [STUDIES]      default: 12

Studies of stock, a program that tries local changes and one that screens, 6 runs of 12 experiments each on two
simulated tasks with the same 20 patches; the effect of each is drawn from KINDS. A row is right if its class is true.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from analysis.statistics import share_interval
from analysis.study import open_study
from analysis.transfer import transfer, transfer_runs
from analysis.transfer_credit import WORDS, across
from arena.settings import Reserved
from arena.setup import StudySetup, reference
from arena.study import Study
from arena.transfer import play_transfer
from bench.common import figure
from programs.shelf import starter
from trainer.law import Law
from trainer.planted import simulated_task
from trainer.task import Task

PATCHES, KINDS = 20, ((1, 1), (1, 0), (0, 1), (1, -1), (0, 0), (-1, -1))


def share(held: list[bool]) -> str:
    low, high = share_interval(sum(held), len(held))
    return f"{sum(held) / len(held):.3f} [{low:.3f}, {high:.3f}]"


def edits(count: int) -> None:
    """How often each class is given, and how often it is true."""
    given: dict[str, list[bool]] = {name: [] for name in WORDS}
    missed: dict[str, list[str]] = {}
    for seed in range(1, count + 1):
        with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as folder:
            truth, outcomes = one_study(Path(folder), seed)
        for name, outcome in outcomes.items():
            given[outcome].append(is_true(outcome, *truth[name]))
            missed.setdefault(kind_of(*truth[name]), []).append(outcome)
    for name, right in given.items():
        if right and name != "open":
            figure(f"edits_{name}", f"{len(right)} given, true {share(right)}")
    for kind, classes in sorted(missed.items()):
        counts = ", ".join(f"{name} {classes.count(name)}" for name in WORDS if name in classes)
        figure(f"truly_{kind}", f"{len(classes)}: {counts}")


def one_study(folder: Path, seed: int) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """(true effects at home and away, class) of each patch."""
    rng = np.random.Generator(np.random.PCG64(seed))
    signs = [KINDS[int(i)] for i in rng.integers(len(KINDS), size=PATCHES)]
    sizes = rng.exponential(0.1, size=PATCHES)
    names = [f"patch{i}" for i in range(PATCHES)]
    truth = {n: (a * float(size), b * float(size)) for n, (a, b), size in zip(names, signs, sizes, strict=True)}
    tasks = []
    for side, name in enumerate(("here", "there")):
        effects = {(patch, True): both[side] for patch, both in truth.items()}
        law = Law(dict.fromkeys(names, False), effects, seed=seed, noise=0.02, trajectory=0.02)
        tasks.append(Task.load(simulated_task(law, folder / name, name=name, experiments=12)))
    budget = 12 * tasks[0].cost_seconds
    further = [Reserved(task=reference(tasks[1]), task_id=tasks[1].task_id, run_budget=budget)]
    study = Study.create(
        folder / "study",
        StudySetup(task=tasks[0], run_budget=budget, command="transfer", workers=1, seed=seed, further=further),
    )
    play_transfer(study, [starter("local"), starter("local-screen")], 6, False, lambda _: None)
    with open_study(folder / "study", views=()) as con:
        transferred = transfer(con)
        moved = across(con, transferred.tasks, transferred.cells, transfer_runs(con))
    return truth, {row.label.removeprefix("+"): row.outcome for row in moved if row.method == "edit"}


def is_true(outcome: str, here: float, there: float) -> bool:
    """Whether a class says no more than the effects do; "not significant" makes no claim."""
    claims = {
        "everywhere": here > 0 and there > 0, "home": here > max(there, 0.0), "elsewhere": there > max(here, 0.0),
        "hurts": min(here, there) < 0,
    }  # fmt: skip
    return claims.get(outcome, True)


def kind_of(here: float, there: float) -> str:
    words = ("loss", "nothing", "gain")
    return f"{words[int(np.sign(here)) + 1]}_here_{words[int(np.sign(there)) + 1]}_there"


if __name__ == "__main__":
    edits(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
