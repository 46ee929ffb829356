"""Attribution: which changes cause the gain. Four questions, and what is only observed beside them.

edit            What does a change of the source do to the metric? By a mixed model of all experiments. Observational;
                randomised if the proposer `random` drew every try of it. It orders the ideas of a program.
factorial       What does a directive of a program do? By a planned two-level design. Randomised.
mutation        What does a child program gain over its parent? Paired if both ran in one match with the same seeds,
                else observational.
leave-one-out   What does the final source of a run lose without one of its kept commits, trained again? Paired.
directive       What did the experiments that cite a directive gain, by the same model? Observational.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.effects.experiments import Effects, MethodInput
from analysis.effects.rows import CreditRow, corrected
from analysis.views.scope import Scope, scopes
from programs.common.errors import UsageError
from programs.common.registry import Registry

if TYPE_CHECKING:
    import duckdb

METHODS: Registry[Callable[[MethodInput], Sequence[CreditRow]]] = Registry(
    "attribution_methods",
    "analysis.effects",
    ("known",),
    first=("edit", "directive", "mutation", "factorial", "leave-one-out"),
)


@dataclass(frozen=True)
class TaskCredits:
    """All credit rows of a task with their q, in the order of the methods, and the model behind them."""

    effects: Effects
    rows: list[CreditRow]

    def of(self, method: str) -> tuple[CreditRow, ...]:
        return tuple(row for row in self.rows if row.method == method)


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[CreditRow]:
    """All rows of the view `credit`, over every task of a study."""
    return [row for scope in searched(con, exclude_matches) for row in credits(scope).rows]


def searched(con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str] = (), *, only: bool = False) -> list[Scope]:
    """Each task of a study, without the matches of its confirmation: they are not used for attribution. ``only``: the
    tasks that have other matches, those of the search."""
    last = [match_id for (match_id,) in con.execute("SELECT match_id FROM after_search()").fetchall()]
    others = {
        task for match_id, task in con.execute("SELECT match_id, task FROM matches").fetchall() if match_id not in last
    }
    return [scope for scope in scopes(con, [*exclude_matches, *last]) if scope.task in others or not only]


def credits(scope: Scope) -> TaskCredits:
    """The rows of one task: the source of the view, the pages, the mutators and the prompts."""
    known, rows = MethodInput(scope), list[CreditRow]()
    for name in METHODS.names:
        found_rows = METHODS.get(name)(known)
        if name in METHODS.added:
            _check(name, scope, found_rows)
        rows += corrected(found_rows)
    return TaskCredits(known.effects, rows)


def _check(name: str, scope: Scope, rows: Sequence[CreditRow]) -> None:
    """What a package's method yields: estimates of this task, under its own name."""
    for row in rows:
        if not isinstance(row, CreditRow) or row.task != scope.task or row.method != name:
            message = f"attribution method {name!r} yields a row that is not its own on {scope.task}: {row!r}"
            raise UsageError(message[:300], hint="mend or uninstall its package")
