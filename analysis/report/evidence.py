"""The evidence of a study about one task: the input of mutators, and the source of the evidence page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.effects.attribution import credits
from analysis.effects.final_scripts import FinalScript, final_scripts
from analysis.effects.rows import DirectiveCredit, DirectiveUse, EditCredit, MutationCredit, Value
from analysis.scales import GainScale
from analysis.scope import Scope
from analysis.statistics import interval, mean_interval, posterior
from trainer.edits import EditSpace

if TYPE_CHECKING:
    import duckdb

    from analysis.effects.experiments import Effects

__all__ = [
    "DirectiveCredit",
    "EditCredit",
    "Evidence",
    "MutationCredit",
    "ProgramScore",
    "Value",
    "evidence",
]


@dataclass(frozen=True)
class ProgramScore:
    """A program's verified gain over all its comparable runs (same task, budget, hardware class), in metric units."""

    program_id: str
    name: str
    task: str
    mean: float
    se: float  # over runs, moderated by the spread of all programs' runs
    n: int
    shrunk_mean: float  # posterior given all programs of the study; selection uses it
    shrunk_se: float
    low: float | None  # two-sided 95% t interval of the mean, from se
    high: float | None
    claimed: float | None  # mean claim of its runs; not used for ranking
    words: int | None
    generation: int | None
    df: float = 0.0  # degrees of freedom of se and interval
    tasks: tuple[ProgramScore, ...] = ()  # of a mean over tasks: the scores that it averages, in one unit


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
    edits: tuple[EditCredit, ...]
    directives: tuple[DirectiveCredit, ...]
    mutations: tuple[MutationCredit, ...]
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
    [total] = scope.rows("totals", EvidenceTotals)
    return Evidence(
        task=task,
        unit=scope.unit,
        edits=tuple(known.edits),
        directives=tuple(known.directives),
        mutations=tuple(known.mutations),
        programs=tuple(program_scores(scope)),
        runs=total.runs,
        experiments=total.experiments,
        effects=known.effects,
        finals=tuple(final_scripts(scope, known.effects)),
        uses=tuple(scope.rows("idea_use", DirectiveUse)),
    )


def program_scores(scope: Scope) -> list[ProgramScore]:
    """Every program with a verified run, best posterior first."""
    runs: dict[str, list[ScoredRun]] = defaultdict(list)
    for run in scope.rows("program_runs", ScoredRun):
        runs[run.program_id].append(run)
    means = {program_id: mean_interval([run.gain for run in mine]) for program_id, mine in runs.items()}
    scores = posterior(
        [m.mean or 0.0 for m in means.values()], [m.se for m in means.values()], [m.n for m in means.values()]
    )
    table = []
    for program_id, score in zip(means, scores, strict=True):
        first = runs[program_id][0]
        claims = [run.claimed for run in runs[program_id] if run.claimed is not None]
        low, high = interval(score.mean, score.se, score.df)
        table.append(ProgramScore(
            program_id=program_id, name=first.name, task=scope.task, mean=score.mean, se=score.se, n=score.n,
            shrunk_mean=score.shrunk_mean, shrunk_se=score.shrunk_se, low=low, high=high,
            claimed=sum(claims) / len(claims) if claims else None, words=first.words, generation=first.generation,
            df=score.df,
        ))  # fmt: skip
    return sorted(table, key=lambda s: (-s.shrunk_mean, -s.mean, s.program_id))
