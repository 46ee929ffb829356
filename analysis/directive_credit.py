"""The gain per device-second of changes that cite a directive, and the directives that no run followed.

The mixed model estimates the gain of each experiment over its parent, kept or dropped. The credit is the sum over all
experiments that cite the directive, 0 for failed ones, divided by the device-seconds charged for them. Its test is that
of the posterior: what an experiment undoes was kept because it had looked good, so that least squares are biased
against it. Observational: the researcher chooses what to cite. An experiment that cites several directives counts in
full for each, so the rows do not add up to the total. A process statement that most experiments cite has no row,
because there is nothing to compare its experiments with.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from analysis.credit import PER_SECOND, DirectiveCredit, NeverFollowed
from analysis.edit_effects import Effects, edit_effects
from analysis.mixed_model import PosteriorEstimate
from analysis.scope import Scope
from analysis.statistics import t_test
from programs.ids import content_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

HABIT = 0.5  # share of experiments above which a statement counts as cited by habit


@dataclass(frozen=True)
class HeldDirective:
    """A directive of programs that ran, its ``runs`` those with an experiment."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: list[str]
    runs: int


@dataclass(frozen=True)
class CitationCost:
    """The ``n`` experiments that cite a directive."""

    n: int
    failures: int
    seconds: float
    runs: int


def directive_credits(
    scope: Scope, effects: Effects | None = None
) -> tuple[list[DirectiveCredit], list[NeverFollowed]]:
    """(credit of the directives that were followed, best first; those that never were, in order of the programs).

    ``q`` is still missing (`credit.settled`).
    """
    held = {row.directive_id: row for row in scope.rows("directive_held", HeldDirective)}
    names, use = _cited(scope)
    credits = []
    costs, gains = _gains(use, len(names), effects or edit_effects(scope))
    for (directive, experiments), own, gain in zip(names, costs, gains, strict=True):
        about = held.get(directive)
        if (about and about.kind == "idea") or own.n <= HABIT * experiments:
            credits.append(_credit(scope, directive, own, gain, about))
    cited = {directive for directive, _ in names}
    never = [
        NeverFollowed(d, h.text, h.heading, h.kind, tuple(h.program_ids), h.runs)
        for d, h in held.items()
        if d not in cited
    ]
    return sorted(credits, key=lambda c: (-c.estimate, c.directive_id)), never


def _cited(scope: Scope) -> tuple[list[tuple[str, int]], dict[str, NDArray[Any]]]:
    """(the cited directives, each with the number of experiments of the runs that cite it; the experiments that cite
    them in order of directive, run and number)."""
    import numpy as np

    tables = ("task_runs", "cited", "cited_directives")
    try:
        for name in tables:
            scope.table(name)
        names = scope.con.execute("SELECT directive_id, experiments FROM cited_directives ORDER BY id").fetchall()
        use = scope.columns("directive_use")
    finally:
        for name in tables:
            scope.con.execute(f"DROP TABLE IF EXISTS {name}")
    order = np.lexsort((use["number"], use["run"], use["id"]))
    return names, {k: v[order] for k, v in use.items()}


def _gains(
    use: dict[str, NDArray[Any]], count: int, effects: Effects
) -> tuple[list[CitationCost], list[PosteriorEstimate | None]]:
    """(cost, gain per device-second) of the experiments that cite each of ``count`` directives."""
    import numpy as np

    ends = np.searchsorted(use["id"], np.arange(count + 1))
    costs = [
        CitationCost(
            int(end - start),
            int(use["failed"][start:end].sum()),
            float(use["seconds"][start:end].sum()),
            len(np.unique(use["run"][start:end])),
        )
        for start, end in pairwise(ends)
    ]
    if effects.fitted is None or not count:
        return costs, [None] * count
    rows = effects.finder.positions(use["run"], use["number"])
    once = _once(use, rows)
    seconds = np.array([max(own.seconds, 1e-9) for own in costs])
    weights = effects.changes(rows[once], use["id"][once], count) / seconds[:, None]
    empty = ~np.any(weights != 0.0, axis=1)
    answers = effects.fitted.answers(weights)
    return costs, [None if nothing else answer for answer, nothing in zip(answers, empty.tolist(), strict=True)]


def _once(use: dict[str, NDArray[Any]], rows: NDArray[Any]) -> NDArray[Any]:
    """One index for each source that a run tried for a directive, because a source that was screened first, or trained
    again, is one change: the first one with a row, since the first training may have failed, else the first one."""
    import numpy as np

    key = np.stack([use["id"], use["run"], use["source"].astype(np.int64)])
    order = np.lexsort((rows < 0, *key[::-1]))
    starts = np.flatnonzero(np.append(True, np.any(np.diff(key[:, order], axis=1) != 0, axis=0)))
    chosen: NDArray[Any] = order[starts][np.argsort(np.minimum.reduceat(order, starts))]
    return chosen


def _credit(
    scope: Scope, directive_id: str, own: CitationCost, gain: PosteriorEstimate | None, held: HeldDirective | None
) -> DirectiveCredit:
    return DirectiveCredit(
        credit_id=content_id("c", "directive", scope.task, directive_id),
        task=scope.task,
        estimate=gain.mean if gain else 0.0,
        se=gain.sd if gain else None,
        low=gain.low if gain else None,
        high=gain.high if gain else None,
        n=own.n,
        q=None,
        p=t_test(gain.mean, gain.sd, gain.df) if gain else None,
        df=gain.df if gain else 0.0,
        design="observational",
        unit=f"{scope.unit}{PER_SECOND}",
        directive_id=directive_id,
        text=(held and held.text) or directive_id,
        heading=held.heading if held else "",
        kind=held.kind if held else "",
        program_ids=tuple(held.program_ids) if held else (),
        device_seconds=own.seconds,
        failures=own.failures,
        runs_held=held.runs if held else own.runs,
        runs_followed=own.runs,
    )
