"""Attribution: which changes cause the gain. Five groups of methods, weakest first (docs/attribution.md).

1. claimed     What the runs claim, and the share of it that noise alone would show. Observational.
2. replays     The effect of a kept commit, trained again: added alone, removed from the final source, averaged over
               orders (add-one-in, leave-one-out, shapley). Paired.
3. experiments The effect of a change of the source on the metric (edit: it orders the ideas of a program), by a mixed
               model of all experiments; the gain per device-second of changes that cite a statement, by the same
               model (directive); the effect of following it (following: derived from having if that is known, else
               observational). An edit is randomised if the proposer `random` drew every try of it.
4. children    The gain of a child program over its parents (mutation), and the effect of having a directive over all
               such differences (having). Paired if both ran in one match with the same seeds, else observational.
5. ablations   The effect of a directive in a planned two-level design (factorial). Randomised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.claimed_credit import claimed_credits
from analysis.credit import (
    CreditEstimate,
    CreditViewRow,
    DirectiveCredit,
    EditCredit,
    MutationCredit,
    NeverFollowed,
    row,
    settled,
)  # fmt: skip
from analysis.directive_credit import directive_credits
from analysis.directive_effects import having_credits, joined
from analysis.edit_credit import edit_credits
from analysis.edit_effects import Effects, edit_effects
from analysis.factorial_credit import factorial_credits
from analysis.following import following_credits
from analysis.mutation_credit import mutation_credits
from analysis.replay_credit import replay_credits
from analysis.scope import Scope, scopes
from analysis.tables import statement

if TYPE_CHECKING:
    import duckdb


RECOMPUTED = (
    "An earlier version of metaloop started this study. Its credit was recomputed from all experiments, so it can "
    "differ from the figures in its programs and evidence files."
)


@dataclass(frozen=True)
class TaskCredits:
    """All credit rows of a task with their q, by kind, and the model behind them."""

    effects: Effects
    edits: list[EditCredit]
    directives: list[DirectiveCredit]
    never_followed: list[NeverFollowed]
    mutations: list[MutationCredit]
    others: list[CreditEstimate]

    @property
    def rows(self) -> list[CreditEstimate]:
        return [*self.edits, *self.directives, *self.mutations, *self.others]


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[CreditViewRow]:
    """All rows of the view `credit`, over every task of a study."""
    return [row(item) for scope in searched(con, exclude_matches) for item in credits(scope).rows]


def searched(con: duckdb.DuckDBPyConnection, exclude_matches: Sequence[str] = ()) -> list[Scope]:
    """Each task of a study, without the matches of its confirmation: they are not used for attribution."""
    last = con.execute("SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve')").fetchall()
    return scopes(con, [*exclude_matches, *(match_id for (match_id,) in last)])


def recomputed(con: duckdb.DuckDBPyConnection) -> str:
    """A remark for the credit of a study that an earlier version started; empty for others."""
    [older] = con.execute(statement("recomputed", "report/sql")).fetchone() or (False,)
    return RECOMPUTED if older else ""


def credits(scope: Scope) -> TaskCredits:
    """The rows of one task: the source of the view, the pages, the mutators and the prompts."""
    # The model of the experiments takes as long as all other methods together.
    with scope.con.cursor() as aside, ThreadPoolExecutor(1) as worker:
        fitting = worker.submit(edit_effects, replace(scope, con=aside))
        mutations, others = mutation_credits(scope), _others(scope)
        effects = fitting.result()
    directives, never = directive_credits(scope, effects)
    kinds: tuple[Sequence[CreditEstimate], ...] = (edit_credits(scope, effects), directives, mutations, others)
    rows: Iterator[Any] = iter(settled([item for kind in kinds for item in kind]))
    first, second, third, last = ([next(rows) for _ in kind] for kind in kinds)
    return TaskCredits(effects, first, second, never, third, last)


def _others(scope: Scope) -> list[CreditEstimate]:
    """The credits of a task by all other methods."""
    causal = joined([*factorial_credits(scope), *having_credits(scope)])
    return [*causal, *following_credits(scope, causal), *replay_credits(scope), *claimed_credits(scope)]
