"""Attribution: what earned the gain. Five methods, weakest first; no row mixes their answers (docs/attribution.md).

1. claimed     What the runs say of themselves, beside the share that noise alone would show. Observational.
2. replays     What a kept commit is worth when it is trained again: added alone, left out at the end, averaged over
               orders (add-one-in, leave-one-out, shapley). Paired.
3. directives  What the experiments that cite a statement brought per device-second (directive), and whether runs that
               hold it followed it (following: from having where that is known, else observational).
               And what a single change of the source earned (edit): it orders the ideas of a program. Randomised where
               every try was drawn by the proposer `random`, else observational.
4. children    What a child program gained over its parents (mutation), and what having a directive does over all such
               differences (having). Paired where both ran in one match with the same seeds, else observational.
5. ablations   What a directive does in a planned two-level design (factorial). Randomised.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.claimed_credit import claimed_credits
from analysis.credit import Credit, Estimate, row
from analysis.directive_credit import directive_credits
from analysis.directive_effects import having_credits, joined
from analysis.edit_credit import edit_credits
from analysis.factorial_credit import factorial_credits
from analysis.following import following_credits
from analysis.mutation_credit import mutation_credits
from analysis.replay_credit import replay_credits
from analysis.scope import Scope, scopes

if TYPE_CHECKING:
    import duckdb


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[Credit]:
    """All rows of the view `credit`, over every task of a study.

    Matches of the confirmation stream are left out: what confirms a champion is no evidence of how it came about.
    """
    last = con.execute("SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve')").fetchall()
    found: list[Credit] = []
    for scope in scopes(con, [*exclude_matches, *(match_id for (match_id,) in last)]):
        # The edits take as long as all others together, and half of it in one thread.
        with con.cursor() as aside, ThreadPoolExecutor(1) as worker:
            edits = worker.submit(edit_credits, replace(scope, con=aside))
            others = _others(scope)
            found += map(row, edits.result())
        found += map(row, others)
    return found


def _others(scope: Scope) -> list[Estimate]:
    """The credits of a task but those of edits."""
    causal = joined([*factorial_credits(scope), *having_credits(scope)])
    return [
        *directive_credits(scope)[0],
        *mutation_credits(scope),
        *causal,
        *following_credits(scope, causal),
        *replay_credits(scope),
        *claimed_credits(scope),
    ]
