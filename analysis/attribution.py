"""Attribution: which changes cause the gain. The methods by their data; the design of a row says how strong it is.

1. experiments The effect of a change of the source on the metric (edit: it orders the ideas of a program), by a mixed
               model of all experiments; the gain per device-second of changes that cite a statement, by the same
               model (directive). Observational; an edit is randomised if the proposer `random` drew every try of it.
2. children    The gain of a child program over its parent (mutation). Paired if both ran in one match with the same
               seeds, else observational.
3. replays     What the final source of a run loses without one of its kept commits, trained again (leave-one-out).
               Paired.
4. ablations   The effect of a directive in a planned two-level design (factorial). Randomised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.credit import (
    CreditEstimate,
    CreditViewRow,
    DirectiveCredit,
    EditCredit,
    MutationCredit,
    NeverFollowed,
    row,
    settled,
)
from analysis.edit_effects import Effects, edit_effects
from analysis.method_input import MethodInput
from analysis.scope import Scope, scopes
from programs.errors import UsageError
from programs.registry import Registry

if TYPE_CHECKING:
    import duckdb

METHODS: Registry[Callable[[MethodInput], Sequence[CreditEstimate]]] = Registry(
    "attribution_methods",
    "analysis.methods",
    ("known",),
    first=("edit", "directive", "mutation", "factorial", "leave-one-out"),
)
LAST = ("confirmation", "reserve")  # streams of matches after the search


@dataclass(frozen=True)
class TaskCredits:
    """All credit rows of a task with their q, in the order of the methods, and the model behind them."""

    effects: Effects
    rows: list[CreditEstimate]
    never_followed: list[NeverFollowed]

    @property
    def edits(self) -> list[EditCredit]:
        return [each for each in self.rows if isinstance(each, EditCredit)]

    @property
    def directives(self) -> list[DirectiveCredit]:
        return [each for each in self.rows if isinstance(each, DirectiveCredit)]

    @property
    def mutations(self) -> list[MutationCredit]:
        return [each for each in self.rows if isinstance(each, MutationCredit)]


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[CreditViewRow]:
    """All rows of the view `credit`, over every task of a study."""
    return [row(item) for scope in searched(con, exclude_matches) for item in credits(scope).rows]


def searched(con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str] = (), *, only: bool = False) -> list[Scope]:
    """Each task of a study, without the matches of its confirmation: they are not used for attribution. ``only``: the
    tasks that have other matches, those of the search."""
    matches = con.execute("SELECT match_id, task, CASE WHEN purpose <> 'night' THEN stream END FROM matches").fetchall()
    last = [match_id for match_id, _, stream in matches if stream in LAST]
    others = {task for _, task, stream in matches if stream not in LAST}
    return [one for one in scopes(con, [*exclude_matches, *last]) if one.task in others or not only]


def credits(scope: Scope) -> TaskCredits:
    """The rows of one task: the source of the view, the pages, the mutators and the prompts.

    The rows of a method that a package adds are tested with the others: they share one false discovery rate.
    """
    done: dict[str, Sequence[CreditEstimate]] = {}
    with scope.con.cursor() as aside, ThreadPoolExecutor(1) as worker:
        fitting = worker.submit(edit_effects, replace(scope, con=aside))
        known = MethodInput(scope, fitting.result)
        for name in reversed(METHODS.names):  # the model takes as long as all methods: those that need it come last
            done[name] = METHODS.get(name)(known)
            if name in METHODS.added:
                _check(name, scope, done[name])
        every = settled([item for name in METHODS.names for item in done[name]])
        return TaskCredits(known.effects, every, known.directives[1])


def _check(name: str, scope: Scope, rows: Sequence[CreditEstimate]) -> None:
    """What a package's method yields: estimates of this task, under its own name."""
    for each in rows:
        if not isinstance(each, CreditEstimate) or each.task != scope.task or row(each).method != name:
            message = f"attribution method {name!r} yields a row that is not its own on {scope.task}: {each!r}"
            raise UsageError(message[:300], hint="mend or uninstall its package")
