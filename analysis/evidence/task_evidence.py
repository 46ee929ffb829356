"""The evidence of a study about one task: the input of mutators, and the source of the evidence page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.effects.attribution import credits
from analysis.effects.final_scripts import FinalScript, final_scripts
from analysis.effects.rows import CreditRow, DirectiveUse, Value
from analysis.statistics import Estimate, mean_interval, posterior
from analysis.views.scales import GainScale
from analysis.views.scope import Scope
from trainer.edits import EditSpace

if TYPE_CHECKING:
    import duckdb

    from analysis.effects.experiments import Effects


@dataclass(frozen=True)
class ProgramScore:
    """A program's verified gain over all its comparable runs (same task, budget, hardware class), in metric units."""

    program_id: str
    name: str
    task: str
    gain: Estimate  # over runs, its SE moderated by the spread of all programs' runs
    shrunk: Estimate  # posterior given all programs of the study; selection uses it
    claimed: float | None  # mean claim of its runs; not used for ranking
    words: int | None
    generation: int | None
    tasks: tuple[ProgramScore, ...] = ()  # of a mean over tasks: the scores that it averages, in one unit

    def order(self) -> tuple[float, float, str]:
        """The sort key: best first."""
        return -self.shrunk.or_zero, -self.gain.or_zero, self.program_id


@dataclass(frozen=True)
class EvidenceTotals:
    """The size of the data behind the evidence."""

    runs: int
    experiments: int


@dataclass(frozen=True)
class ScoredRun:
    """A verified run of a program, with what the program's score repeats."""

    program_id: str
    name: str
    words: int | None
    generation: int | None
    gain: float
    claimed: float | None


@dataclass(frozen=True)
class Evidence:
    """Everything that a mutator may use about a task; each tuple is sorted by falling estimate."""

    task: str
    unit: str
    edits: tuple[CreditRow, ...]
    directives: tuple[CreditRow, ...]
    mutations: tuple[CreditRow, ...]
    programs: tuple[ProgramScore, ...]
    runs: int
    experiments: int
    effects: Effects | None = None  # the model of the experiments, for bundles; None over several tasks
    parts: tuple[Evidence, ...] = ()  # of evidence over several tasks: the evidence of each, in the common unit
    scale: GainScale | None = None  # of such a part: the divisor of its gains
    finals: tuple[FinalScript, ...] = ()  # the configurations that runs ended with, best first
    uses: tuple[
        DirectiveUse, ...
    ] = ()  # what the runs of each program did with its directives; None over several tasks
    space: EditSpace = field(default_factory=EditSpace)  # of the task; of none over several
    untouched: Mapping[str, Value] = field(default_factory=dict)  # the values of its untouched files

    def tried_and_kept(self, program_id: str) -> tuple[Counter[str], Counter[str]]:
        """By directive of a program, in how many of its runs it was tried and kept, on all tasks together."""
        tried, kept = Counter[str](), Counter[str]()
        for use in (use for part in self.parts or (self,) for use in part.uses):
            if use.program_id == program_id:
                tried[use.directive_id or ""] += use.tried
                kept[use.directive_id or ""] += use.kept
        return tried, kept


def evidence(
    con: duckdb.DuckDBPyConnection,
    task: str,
    *,
    exclude_matches: Sequence[str] = (),
    until_generation: int | None = None,
) -> Evidence:
    """The evidence of an open study about ``task``, without ``exclude_matches`` and matches of later generations.

    It also leaves out planned ablations: they are about one program and may run during the search, and the next
    generation must not depend on them. It reads no computed views: ``open_study(path, views=())`` is enough.
    """
    excluded = "SELECT match_id FROM matches WHERE purpose = 'ablation' OR generation > ?"
    later = con.execute(excluded, [until_generation]).fetchall()
    scope = Scope(con, task, (*exclude_matches, *(match_id for (match_id,) in later)))
    known = credits(scope)
    [total] = scope.rows("evidence/totals", EvidenceTotals)
    return Evidence(
        task=task,
        unit=scope.unit,
        edits=known.of("edit"),
        directives=known.of("directive"),
        mutations=known.of("mutation"),
        programs=tuple(program_scores(scope)),
        runs=total.runs,
        experiments=total.experiments,
        effects=known.effects,
        finals=tuple(final_scripts(scope, known.effects)),
        uses=tuple(scope.rows("evidence/idea_use", DirectiveUse)),
    )


def program_scores(scope: Scope) -> list[ProgramScore]:
    """Every program with a verified run, best posterior first."""
    runs: dict[str, list[ScoredRun]] = defaultdict(list)
    for run in scope.rows("evidence/program_runs", ScoredRun):
        runs[run.program_id].append(run)
    scores = posterior([mean_interval([run.gain for run in runs_of_program]) for runs_of_program in runs.values()])
    table = []
    for (program_id, runs_of_program), score in zip(runs.items(), scores, strict=True):
        first, claims = runs_of_program[0], [run.claimed for run in runs_of_program if run.claimed is not None]
        table.append(ProgramScore(
            program_id=program_id, name=first.name, task=scope.task, gain=score.measured, shrunk=score.shrunk,
            claimed=sum(claims) / len(claims) if claims else None, words=first.words, generation=first.generation,
        ))  # fmt: skip
    return sorted(table, key=ProgramScore.order)
