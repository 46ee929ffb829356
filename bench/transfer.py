"""Whether the interval of the rank correlation between two tasks holds the truth, and whether edits are sorted rightly.

python -m bench.transfer [ranks REPLICATES | edits STUDIES]      default: ranks 300 and edits 12

Ranks: K programs with true gains on two tasks, bivariate normal with correlation RHO, sd .25 of stock's gain; runs
normal, sd .33 (stock's run-to-run sd is a third of its gain), N runs each. The truth is Spearman's correlation of those
K true gains. Shown beside: a bootstrap of the runs within program and task.

Edits: studies of stock, a program that tries local changes and one that screens, 6 runs of 12 experiments each on two
simulated tasks with the same 20 patches; the effect of each is drawn from KINDS. A row is right if its class is true.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.rank_correlation import MeasuredGain, correlation, rank_correlations
from analysis.statistics import mean_interval, posterior, share_interval
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

SPREAD, NOISE, RESAMPLED = 0.25, 0.33, 500
PATCHES, KINDS = 20, ((1, 1), (1, 0), (0, 1), (1, -1), (0, 0), (-1, -1))
WORLDS = [(k, n, rho) for k in (5, 8, 16) for n in (4, 12) for rho in (0.0, 0.5, 0.9, 0.98)]


@dataclass(frozen=True)
class Trial:
    """One study: the truth, our interval, and the bootstrap's."""

    truth: float
    estimate: float
    observed: float
    ours: tuple[float, float]
    bootstrap: tuple[float, float]


def trial(k: int, n: int, rho: float, rng: np.random.Generator) -> Trial:
    common, own = rng.standard_normal((2, k))
    truth = 1.0 + SPREAD * np.stack([common, rho * common + np.sqrt(1.0 - rho**2) * own])
    runs = truth[:, :, None] + NOISE * rng.standard_normal((2, k, n))
    sides = [measured(runs[side]) for side in (0, 1)]
    estimated = correlation("a", "b", list(zip(*sides, strict=True)))
    drawn = rng.integers(n, size=(RESAMPLED, 2, k, n))
    again = np.take_along_axis(np.broadcast_to(runs, drawn.shape), drawn, axis=-1).mean(axis=-1)
    low, high = np.quantile(rank_correlations(again[:, 0], again[:, 1]), (0.025, 0.975))
    return Trial(
        float(rank_correlations(truth[:1], truth[1:])[0]), estimated.estimate or 0.0, estimated.observed or 0.0,
        (estimated.low or 0.0, estimated.high or 0.0), (float(low), float(high)),
    )  # fmt: skip


def measured(runs: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[MeasuredGain]:
    means = [mean_interval(own.tolist()) for own in runs]
    scored = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
    return [MeasuredGain(score.mean, score.se, str(i)) for i, score in enumerate(scored)]


def ranks(count: int) -> Iterator[tuple[tuple[int, int, float], list[Trial]]]:
    for number, world in enumerate(WORLDS):
        rng = np.random.Generator(np.random.PCG64(number + 1))
        yield world, [trial(*world, rng) for _ in range(count)]


def share(held: list[bool]) -> str:
    low, high = share_interval(sum(held), len(held))
    return f"{sum(held) / len(held):.3f} [{low:.3f}, {high:.3f}]"


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] - 1e-9 <= truth <= interval[1] + 1e-9


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


def main() -> None:
    what, count = (sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else ("", 0)
    if what != "edits":
        of_ranks(count or 300)
    if what != "ranks":
        edits(count or 12)


def of_ranks(count: int) -> None:
    began, all_ours, all_theirs = time.process_time(), [], []
    for (k, n, rho), trials in ranks(count):
        ours = [covers(t.ours, t.truth) for t in trials]
        theirs = [covers(t.bootstrap, t.truth) for t in trials]
        all_ours, all_theirs = all_ours + ours, all_theirs + theirs
        wide = [np.mean([high - low for low, high in intervals]) for intervals in
                ([t.ours for t in trials], [t.bootstrap for t in trials])]  # fmt: skip
        off = [np.mean([value - t.truth for t, value in estimates]) for estimates in
               ([(t, t.estimate) for t in trials], [(t, t.observed) for t in trials])]  # fmt: skip
        figure(f"ranks_{k}_programs_{n}_runs_rho_{rho:g}", f"held {share(ours)}, bootstrap {share(theirs)}; width "
               f"{wide[0]:.2f}, {wide[1]:.2f}; bias {off[0]:+.3f}, of the means as measured {off[1]:+.3f}")  # fmt: skip
    figure("ranks_held", f"{share(all_ours)}, bootstrap {share(all_theirs)}", "0.93 or more")
    figure("cpu_seconds", f"{time.process_time() - began:.0f}")


if __name__ == "__main__":
    main()
