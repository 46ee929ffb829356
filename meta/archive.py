"""The archive: the posterior gain of every measured program, from which parents are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.evidence.task_evidence import ProgramScore
from meta.mutators.base import ParentProgram
from programs.program import Program

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PAIRED = """SELECT program_id, task, match_id, run_seed, avg(verified_gain ORDER BY run_id) FROM verified_runs()
    WHERE purpose IN ('race', 'generation') GROUP BY ALL"""


class Archive:
    """Programs with their posterior gains and their numbers of children.

    ``twins`` (id → id) behave like a scored program and were not run: they may be parents with its score, not elites.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        scores: Sequence[ProgramScore],
        children: Counter[str],
        twins: Mapping[str, str] | None = None,
    ) -> None:
        self.programs = programs
        self.twins = dict(twins or {})
        new = {
            program_id: twin
            for program_id, twin in self.twins.items()
            if all(s.program_id != program_id for s in scores)
        }
        alike = [
            replace(s, program_id=program_id)
            for program_id, twin in new.items()
            for s in scores
            if s.program_id == twin
        ]
        self.scores = sorted(
            (s for s in [*scores, *alike] if s.program_id in programs), key=lambda s: (-s.shrunk.or_zero, s.program_id)
        )
        self.children = children

    def best(self, among: Sequence[str] | None = None) -> list[ProgramScore]:
        """Scores in falling order of the shrunken mean, of all programs or of those named."""
        return [s for s in self.scores if among is None or s.program_id in among]

    def breeding_stock(
        self, rng: np.random.Generator, n: int, more_than: int, first_among: Sequence[str] | None = None
    ) -> Archive:
        """The ``n`` possible parents, which are also raced beside their children: the incumbent, and others drawn.

        The incumbent is the best of ``first_among`` where these are given. Where enough programs have ``more_than``
        runs, so that what promoted them has been measured again, only these are drawn.
        """
        more_runs = [s.program_id for s in self.scores if s.gain.n > more_than]
        pool = more_runs if len(more_runs) >= n else [s.program_id for s in self.scores]
        incumbent = (self.best(first_among) or self.best())[0].program_id
        chosen = self.only({incumbent, *pool}).parents(rng, n, [incumbent])
        return self.only({parent.program.program_id for parent in chosen})

    def only(self, chosen: Collection[str]) -> Archive:
        """The archive of these programs alone; children are counted in common."""
        programs = {p: program for p, program in self.programs.items() if p in chosen}
        twins = {program_id: twin for program_id, twin in self.twins.items() if program_id in chosen}
        return Archive(programs, self.scores, self.children, twins)

    def runners(self) -> list[str]:
        """Ids of the programs to run, best first; a twin stands for programs that behave like it."""
        return list(dict.fromkeys(self.twins.get(s.program_id, s.program_id) for s in self.scores))

    def parents(
        self, rng: np.random.Generator, n: int, first_among: Sequence[str] | None = None
    ) -> list[ParentProgram]:
        """``n`` different parents by Thompson sampling: a draw from each posterior, less what it has bred already.

        A program with k children loses k/2 posterior sd, so that breeding spreads over the good ones.
        With ``first_among`` the first parent is drawn from these ids alone.

        Over several tasks a program is drawn on each, and the parent is one of those that no other draw beats on all of
        them (the Pareto front of the draws), each as likely: so a specialist can be a parent, and a program that is
        worse everywhere cannot. On one task the front is the best draw.
        """
        chosen: list[ProgramScore] = []
        while len(chosen) < min(n, len(self.scores)):
            pool = [s for s in self.best(None if chosen else first_among) if s not in chosen]
            best = front([self._drawn(score, rng) for score in pool])
            chosen.append(pool[best[int(rng.integers(len(best)))] if len(best) > 1 else best[0]])
        return [ParentProgram(self.programs[s.program_id], s) for s in chosen]

    def _drawn(self, score: ProgramScore, rng: np.random.Generator) -> list[float]:
        """A draw of its gain on each task."""
        bred = 0.5 * self.children[score.program_id]
        return [
            gain.shrunk.or_zero + (gain.shrunk.se or 0.0) * (rng.standard_normal() - bred)
            for gain in score.tasks or (score,)
        ]


Paired = tuple[str, str, int]  # task, match, run seed
PairedRuns = Mapping[str, Mapping[Paired, float]]  # program → gains


def runs_by_seed(con: DuckDBPyConnection) -> PairedRuns:
    """The verified gains of the runs that choose programs."""
    gains: dict[str, dict[Paired, float]] = {}
    for program_id, task, match_id, seed, gain in con.execute(_PAIRED).fetchall():
        gains.setdefault(program_id, {})[task, match_id, seed] = gain
    return gains


def not_behind(program_id: str, parents: Mapping[str, Sequence[str]], known: Collection[str], runs: PairedRuns) -> str:
    """The program, or its ancestor by first parents that surpasses all ancestors of its own: it gained more on the run
    seeds that both ran in the same matches. Means over all runs of a program also differ by the matches that it ran in.
    """
    ancestor = program_id
    while parents.get(ancestor):
        ancestor = parents[ancestor][0]
        if ancestor in known and not surpasses(runs.get(program_id, {}), runs.get(ancestor, {})):
            program_id = ancestor
    return program_id


def surpasses(child: Mapping[Paired, float], parent: Mapping[Paired, float]) -> bool:
    """Whether the child gained more on average over tasks, in standard deviations of its differences there, one of
    them where it has none; a child that never ran beside its parent is believed."""
    by_task: dict[str, list[float]] = {}
    for key in child.keys() & parent.keys():
        by_task.setdefault(key[0], []).append(child[key] - parent[key])
    means = [(float(np.mean(differences)), float(np.std(differences))) for differences in by_task.values()]
    sizes = [mean / sd if sd else float(np.sign(mean)) for mean, sd in means]
    return not sizes or sum(sizes) > 0


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates (as good everywhere and better somewhere); of equal points
    the first."""
    values, best = np.asarray(points, dtype=float), list[int]()
    for i, point in enumerate(values):
        beaten = (values >= point).all(axis=1) & (values > point).any(axis=1)
        if not beaten.any() and not any((values[j] == point).all() for j in best):
            best.append(i)
    return best
