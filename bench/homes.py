"""Parents of several tasks: does drawing them from the Pareto front beat drawing them by the mean over the tasks?

Abstract programs: ideas of two tasks, ``costs`` is what an idea of one task costs on the other, where tries are lost.
Children cross two parents and change one idea; a race adds noise. The real archive draws the parents.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace

import numpy as np

from analysis.evidence import ProgramScore
from analysis.statistics import mean_interval, posterior
from meta.archive import Archive
from programs.program import Program

IDEAS, START, NOISE, RUNS = 12, 3, 0.5, 4  # ideas of each task; held by a starter; sd of a run; runs a program
PROGRAMS, CHILDREN = 8, 5


def gains(held: np.ndarray, costs: float) -> np.ndarray:
    own = held.reshape(2, IDEAS).sum(axis=1) / START
    return np.asarray(own - costs * own[::-1])


def scores(names: list[str], runs: dict[str, np.ndarray]) -> list[ProgramScore]:
    by_task = []
    for task in range(2):
        means = [mean_interval(runs[name][:, task].tolist()) for name in names]
        estimates = posterior([m.mean or 0.0 for m in means], [m.se for m in means], [m.n for m in means])
        by_task.append([
            ProgramScore(name, name, str(task), p.mean, p.se, p.n, p.shrunk_mean, p.shrunk_se, None, None, None, 0, 0)
            for name, p in zip(names, estimates, strict=True)
        ])  # fmt: skip
    return [
        replace(a, mean=(a.mean + b.mean) / 2, shrunk_mean=(a.shrunk_mean + b.shrunk_mean) / 2,
                shrunk_se=(a.shrunk_se**2 + b.shrunk_se**2) ** 0.5 / 2, tasks=(a, b))
        for a, b in zip(*by_task, strict=True)
    ]  # fmt: skip


def study(rng: np.random.Generator, pareto: bool, costs: float, generations: int) -> float:
    """True mean gain of the program that ends on top. Every other starter knows ideas of one task only."""
    held: dict[str, np.ndarray] = {}
    runs: dict[str, np.ndarray] = {}
    programs: dict[str, Program] = {}

    def admit(title: str, genome: np.ndarray) -> None:
        program = Program.parse(f"# {title}\n", title)
        name = program.program_id
        programs[name], held[name] = program, genome
        runs[name] = gains(genome, costs) + NOISE * rng.standard_normal((RUNS, 2))

    for number in range(PROGRAMS):
        genome = np.zeros(2 * IDEAS)
        among = np.arange(2 * IDEAS) if number % 2 else np.arange(IDEAS) + IDEAS * ((number // 2) % 2)
        genome[rng.choice(among, START, replace=False)] = 1
        admit(f"s{number}", genome)
    bred: Counter[str] = Counter()
    for generation in range(generations):
        table = scores(list(held), runs)
        scored = table if pareto else [replace(score, tasks=()) for score in table]
        archive = Archive(programs, scored, bred)
        stock = archive.breeding_stock(rng, 2, RUNS)
        for child in range(CHILDREN):
            first, second = (parent.score.program_id for parent in stock.parents(rng, 2) if parent.score)
            genome = np.where(rng.random(2 * IDEAS) < 0.5, held[first], held[second])
            genome[rng.integers(2 * IDEAS)] = 1
            bred.update((first, second))
            admit(f"g{generation}-{child}", genome)
    best = max(scores(list(held), runs), key=lambda score: score.shrunk_mean)
    return float(gains(held[best.program_id], costs).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--studies", type=int, default=150)
    parser.add_argument("--generations", type=int, default=3)
    given = parser.parse_args()
    print("an idea of the other task costs | by the mean | from the front | difference, 95% interval")
    for costs in (0.0, 0.25, 0.5, 0.9):
        seeds = range(given.studies)
        results = {
            pareto: [study(np.random.default_rng(seed), pareto, costs, given.generations) for seed in seeds]
            for pareto in (False, True)
        }
        apart = mean_interval([b - a for a, b in zip(results[False], results[True], strict=True)])
        means = [sum(values) / len(values) for values in results.values()]
        print(
            f"{costs:.2f} | {means[0]:.3f} | {means[1]:.3f} | {apart.mean:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]"
        )


if __name__ == "__main__":
    main()
