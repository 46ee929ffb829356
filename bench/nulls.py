"""How often a study announces an improvement where there is none: the one test is held against 2.5%.

python -m bench.nulls whole FILE [SMALL] [QUICK] [WORKERS]      default 2000 1000 1
    Studies of tasks where no edit is worth anything, through bench, arena, ledger, evidence, mutators and confirmation,
    of the plan SMALL (runs of 10 experiments) and of quick. Each is one line that is appended to FILE; those that FILE
    has are not made again, so that it can be stopped at any time. Beside the count: the conditional rate, from
    confirmations whose final sources are those of the studies while baseline and verification noise are drawn anew,
    and the power at a gain of 0.02, from the same draws with the champion's gains raised by it. 0 0: shows FILE.
python -m bench.nulls real FILE [STUDIES] [WORKERS] [TASK…]      default 300 1, tabular letters strokes
    The same on real trainings by fixed steps and real hidden rows, so with the noise of both: studies of the plan REAL,
    and nights, of which it counts how often `main` is called better than the untouched script. They take turns over
    tasks whose edits are worth nothing (`bench.noop_task`). CPU-seconds of a study: tabular 21, letters 22, strokes
    25; of a night 6 or 7 (one each; about 4 of them start the worker).
python -m bench.nulls level [DRAWN]      default 40000
    Arms that are drawn: unequal skewness, heavy tails, drift between matches. Beside the test, plain Welch.
python -m bench.nulls drawn [DRAWN]      default 4000
    Runs drawn from a law, then the real racer, empirical-Bayes choice and claim, for several shapes of noise.

All seeds are fixed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.statistics import Estimate, skewed_difference
from analysis.study import query
from analysis.verdict.claim import LEVEL, Against, claim
from bench.common import cpu_seconds, figure, go_on, kept, mean_of, share_figure
from bench.drawn_studies import Design, World, studies
from bench.noop_task import noop_task
from bench.planted_laws import RunLaw
from bench.simulated_tasks import COST, null_law, simulated_task
from bench.whole import EXPERIMENTS, LAWS, PLAN, QUICK, begin_night, begin_study, play_study, resized, whole_study
from programs.shelf import starter
from trainer.laws.law import Law
from trainer.task import Task

if TYPE_CHECKING:
    from bench.planted_laws import Floats

GOAL = "upper bound <= 0.033"
SMALL, SMALL_BUDGET = resized(QUICK, starters=5, opening_more=4, elites=1, final={"without-ideas": 2}), 10 * COST
FIRST = {"small": 20_001, "quick": 40_001}  # seed of the first study of a plan
REDRAWN, GAIN = 100, 0.02  # confirmations drawn for each study; the gain that power is told for
BASELINES, VERIFIED = 8, 2  # seeds of the shared baseline, and of a run
FINAL = """
SELECT any_value(r.role) AS role, any_value(e.config) AS config FROM runs AS r
JOIN experiments AS e ON e.run_id = r.run_id AND e.source_id = r.final_source_id
WHERE r.purpose = 'confirmation' GROUP BY r.run_id ORDER BY r.run_id
"""


# -- whole studies -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """One null study; ``redrawn`` and ``power``: shares of REDRAWN confirmations that announce, ``plain`` of those that
    plain Welch would announce where ``power`` is told."""

    plan: str
    seed: int
    announced: bool
    p: float
    redrawn: float
    power: float
    plain: float
    cpu_seconds: float
    commit: str


@dataclass(frozen=True)
class Job:
    plan: str
    seed: int
    commit: str


def make(job: Job) -> Made:
    began, law = time.process_time(), null_law(1 + job.seed % LAWS)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="nulls-", dir=memory if memory.is_dir() else None) as name:
        task = Task.load(simulated_task(law, Path(name) / "task", experiments=EXPERIMENTS))
        plan, budget = (SMALL, SMALL_BUDGET) if job.plan == "small" else (PLAN, None)
        _, said = whole_study(task, plan, job.seed, Path(name) / "study", run_budget=budget)
        final_rows = query(Path(name) / "study", FINAL)
    changes: dict[str, list[int]] = {}
    for row in final_rows:
        config = json.loads(row["config"]) if isinstance(row["config"], str) else row["config"]
        changes.setdefault(row["role"], []).append(len(law.changes(config)))
    rng = np.random.Generator(np.random.PCG64(job.seed))
    again = [redraw(law, changes, rng) for _ in range(REDRAWN)]
    null, power = (statistics.fmean(claim(raised(g, by), m).holds for g, m in again) for by in (0.0, GAIN))
    plain = statistics.fmean(welch(raised(gains, GAIN)) for gains, _ in again)
    return Made(job.plan, job.seed, said.holds, said.p, null, power, plain, time.process_time() - began, job.commit)


def redraw(
    law: Law, changes: Mapping[str, Sequence[int]], rng: np.random.Generator
) -> tuple[dict[str, list[float]], Against]:
    """A confirmation of final sources with so many edits each, by role: gains, and what they are measured against."""
    baseline = law.noise * rng.standard_normal(BASELINES)
    gains = {}
    for role, runs in changes.items():
        sd = np.sqrt((law.noise**2 + law.trajectory**2 * np.array(runs)) / VERIFIED)
        gains[role] = (sd * rng.standard_normal(len(runs)) - baseline.mean()).tolist()
    return gains, Against(tuple(baseline.tolist()), dict.fromkeys(gains, 1.0))


def raised(gains: Mapping[str, Sequence[float]], by: float) -> dict[str, Sequence[float]]:
    return {**gains, "champion": [gain + by for gain in gains["champion"]]}


def welch(gains: Mapping[str, Sequence[float]]) -> bool:
    """Whether it claims that the champion is better than stock, both of its arms taken together."""
    apart = skewed_difference(gains["champion"], [*gains["control"], *gains.get("a/a", ())])
    return replace(apart, skewness=0.0).one_sided() < LEVEL


def study(file: Path, wanted: Mapping[str, int], workers: int) -> None:
    """Make the studies that ``file`` lacks, by turns over the plans so that any part of them has both."""
    commit = this_commit()
    done = {(made.plan, made.seed) for made in kept(file, Made)}
    jobs = [Job(plan, FIRST[plan] + i, commit) for plan, count in wanted.items() for i in range(count)]
    jobs.sort(key=lambda job: (job.seed - FIRST[job.plan]) / wanted[job.plan])
    jobs = [job for job in jobs if (job.plan, job.seed) not in done]
    go_on(file, make, jobs, workers)


def this_commit() -> str:
    named = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return named.strip()


def show(made: Sequence[Made]) -> None:
    figure("law", f"all effects 0, noise .02, trajectory .02 per edit, 5% of sources crash; {LAWS} tasks of 16 knobs")
    figure("commits", ", ".join(sorted({m.commit for m in made})))
    for plan in (*FIRST, "all"):
        some = [m for m in made if plan in (m.plan, "all")]
        if not some:
            continue
        share_figure(f"whole_null_claims, {plan}", [m.announced for m in some], GOAL)
        share_figure(f"  … the other way round (p > {1 - LEVEL})", [m.p > 1 - LEVEL for m in some])
        for name, values in (
            ("conditional rate", [m.redrawn for m in some]),
            (f"power at {GAIN}", [m.power for m in some]),
            ("power of plain Welch", [m.plain for m in some]),
        ):
            figure(f"  … {name}, {REDRAWN} draws a study", mean_of(values, 4))
        figure("  … CPU-seconds a study", f"{statistics.fmean(m.cpu_seconds for m in some):.2f}")


# -- real trainings ------------------------------------------------------------------------------------------------

EVOLVE, NIGHT = "evolve", "night"
REAL = resized(
    SMALL, starters=3, opening_runs=2, opening_more=2, children=1, generation_runs=2, generation_keep=1,
    generation_more=2, generations=1,
    final={"champion": 5, "control": 5, "without-ideas": 0, "a/a": 0, "start": 0},
)  # fmt: skip
RUN, NIGHT_EXPERIMENTS = 3, 16  # experiments of a run of REAL; of a night, those that measure main included
REAL_TASKS = ("tabular", "letters", "strokes")
REAL_FIRST = 60_001  # seed of the first study


@dataclass(frozen=True)
class Real:
    """One study of real trainings. ``announced``: its champion, or of a night its `main`; ``p``: of the announced test,
    None of a night, whose `main` has an interval."""

    kind: str
    task: str
    seed: int
    announced: bool
    p: float | None
    cpu_seconds: float
    commit: str


def real(job: tuple[str, str, int, str]) -> Real:
    kind, name, seed, commit = job
    began = cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="nulls-") as place:
        task, folder = noop_task(name, Path(place) / "task"), Path(place) / "study"
        seconds = task.steps_of(1.0) * task.seconds_per_step  # what fixed steps are charged
        if kind == NIGHT:
            budget = NIGHT_EXPERIMENTS * task.cost_seconds
            study = begin_night(folder, task, budget, starter("local"), seed=seed, fixed_steps=True)
        else:
            budget = RUN * seconds
            study = begin_study(folder, task, REAL, run_budget=budget, confirm_seeds=2, seed=seed, fixed_steps=True)
        decision = play_study(study).decision
    spent = round(cpu_seconds() - began, 2)
    if kind == NIGHT:
        return Real(kind, name, seed, decision.script is not None, None, spent, commit)
    return Real(kind, name, seed, decision.holds, decision.p, spent, commit)


def real_studies(file: Path, count: int, workers: int, tasks: Sequence[str]) -> None:
    """Make the studies that ``file`` lacks: ``count`` of each kind, by turns over the tasks."""
    done = {(each.kind, each.seed) for each in kept(file, Real)}
    wanted = [(kind, seed) for seed in range(count) for kind in (EVOLVE, NIGHT)]
    jobs = [(kind, tasks[i % len(tasks)], REAL_FIRST + i, this_commit()) for kind, i in wanted]
    go_on(file, real, [job for job in jobs if (job[0], job[2]) not in done], workers)
    made = kept(file, Real)
    figure("commits", ", ".join(sorted({each.commit for each in made})))
    for kind in (EVOLVE, NIGHT):
        for task in (*tasks, "all"):
            some = [each for each in made if each.kind == kind and task in (each.task, "all")]
            if not some:
                continue
            share_figure(f"real_null_claims, {kind}, {task}", [each.announced for each in some], GOAL)
            values = [each.p for each in some if each.p is not None]
            if values:
                share_figure(f"  … the other way round (p > {1 - LEVEL})", [p > 1 - LEVEL for p in values])
            figure("  … CPU-seconds a study", f"{statistics.fmean(each.cpu_seconds for each in some):.1f}")


# -- drawn arms ----------------------------------------------------------------------------------------------------

SIZES = ((10, 10), (10, 14), (20, 24))  # runs of the champion and of stock, with its A/A arm or without
SKEWNESS = (0.0, -2.0, 2.0)
DIVERGED = 0.05  # share of verification seeds that lose LOST sd between runs
LOST = 10.0
Draw = Callable[[tuple[int, int], np.random.Generator], "Floats"]


def skewed(skewness: float) -> Draw:
    """Of mean 0 and sd 1, by the gamma distribution."""
    law = RunLaw(skew=skewness)
    return lambda shape, rng: law.draw(0.0, shape[0] * shape[1], rng).reshape(shape)


def heavy(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Student's t on three degrees of freedom."""
    return rng.standard_t(3, shape)


def diverged(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Normal, and some of the verification seeds diverge; of mean 0."""
    return rng.standard_normal(shape) - LOST * (rng.binomial(VERIFIED, DIVERGED, shape) / VERIFIED - DIVERGED)


def rejected(pairs: Iterator[Estimate]) -> tuple[list[bool], list[bool]]:
    """Whether the announced test, and plain Welch, claims that the first is better."""
    both = [(each.one_sided() < LEVEL, replace(each, skewness=0.0).one_sided() < LEVEL) for each in pairs]
    return [ours for ours, _ in both], [plain for _, plain in both]


def arms(
    first: Draw, second: Draw, size: tuple[int, int], count: int, seed: int, by: float = 0.0
) -> Iterator[Estimate]:
    rng = np.random.Generator(np.random.PCG64(seed))
    a, b = first((count, size[0]), rng) + by, second((count, size[1]), rng)
    return (skewed_difference(x.tolist(), y.tolist()) for x, y in zip(a, b, strict=True))


def shares(name: str, pairs: Iterator[Estimate], goal: str = "") -> None:
    ours, plain = rejected(pairs)
    share_figure(name, ours, goal)
    share_figure("  … plain Welch", plain)


def level(count: int) -> None:
    for at, size in enumerate(SIZES):
        runs = f"{size[0]} and {size[1]} runs"
        for i, (a, b) in enumerate((a, b) for a in SKEWNESS for b in SKEWNESS):
            pairs = arms(skewed(a), skewed(b), size, count, 100 * at + i)
            shares(f"level, champion's skewness {a:g}, stock's {b:g}, {runs}", pairs, GOAL)
        normal = skewed(0.0)
        shares(f"level, both t with 3 df, {runs}", arms(heavy, heavy, size, count, 100 * at + 20), GOAL)
        shares(f"level, seeds of both diverge, {runs}", arms(diverged, diverged, size, count, 100 * at + 21), GOAL)
        only = arms(diverged, normal, size, count, 100 * at + 22)
        shares(f"no test holds here: 5% of the champion's seeds lose {LOST:g} sd, few samples show one, {runs}", only)
        for by in (0.7, 1.3):
            pairs = arms(normal, normal, size, count, 100 * at + 30, by)
            shares(f"power, normal, a difference of {by} sd between runs, {runs}", pairs)
    for at, (stock, champion) in enumerate(UNTOUCHED):
        name = f"{stock:.0%} of stock's runs and {champion:.0%} of the champion's end at the baseline, drift .02"
        share_figure(f"level, {name}", drifting(stock, champion, count, True, at), GOAL)
        share_figure("  … where such a run counts as exactly 0", drifting(stock, champion, count, False, at))


UNTOUCHED = ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 0.5))  # shares of runs that end at the baseline: stock, champion


def drifting(stock: float, champion: float, count: int, trained: bool, seed: int, runs: int = 10) -> list[bool]:
    """Claims where no source is worth anything, what a match verifies drifts from the baseline seeds, and arms differ
    in how often a run ends at the untouched baseline; else it makes two edits. ``trained``: whether such a run is
    verified like any other, as it is, or counts as exactly 0, as it did.
    """
    rng, held = np.random.Generator(np.random.PCG64(1000 + seed)), []
    noise = 0.02
    for _ in range(count):
        baseline, drift = noise * rng.standard_normal(BASELINES), noise * rng.standard_normal()
        gains, touched = {}, {}
        for role, share in (("control", stock), ("champion", champion)):
            changed = rng.random(runs) >= share
            sd = noise * np.sqrt((1 + 2 * changed) / VERIFIED)
            measured = sd * rng.standard_normal(runs) + drift - baseline.mean()
            gains[role] = np.where(changed | trained, measured, 0.0).tolist()
            touched[role] = float((changed | trained).mean())
        held.append(claim(gains, Against(tuple(baseline.tolist()), touched)).holds)
    return held


# -- drawn studies -------------------------------------------------------------------------------------------------

SHAPES = {
    "normal": RunLaw(sd=0.33),
    "a tenth fails": RunLaw(sd=0.33, failing=0.1),
    "skewness 1": RunLaw(sd=0.33, skew=1.0),
    "skewness -1": RunLaw(sd=0.33, skew=-1.0),
    "run seeds shared": RunLaw(sd=0.33, common=0.5),
}


def drawn(count: int) -> None:
    for name, law in SHAPES.items():
        made = studies(World(runs=law), Design(confirm=10), count, 7)
        share_figure(f"drawn null claims, {name}", [claimed.holds for _, claimed in made], GOAL)


def main() -> None:
    command, *words = sys.argv[1:] or ["help"]
    if command == "whole" and words:
        small, quick, workers = (int(word) for word in (*words[1:], *("2000", "1000", "1")[len(words) - 1 :]))
        study(Path(words[0]), {"small": small, "quick": quick}, workers)
        show(kept(Path(words[0]), Made))
    elif command == "real" and words:
        count, workers = (int(word) for word in (*words[1:3], *("300", "1")[len(words[1:3]) :]))
        real_studies(Path(words[0]), count, workers, words[3:] or REAL_TASKS)
    elif command == "level":
        level(int(words[0]) if words else 40_000)
    elif command == "drawn":
        drawn(int(words[0]) if words else 4000)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
