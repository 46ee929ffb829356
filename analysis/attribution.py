"""Attribution: what earned the gain. Three questions, a file each; no row mixes their answers.

1. edits       What did a single change of the source earn? It orders the ideas of a program.
               Randomised where every try was drawn by the proposer `random`, else observational.
2. directives  What did the experiments that cite a statement of a program earn per device-second, and was it followed?
               Observational.
3. mutations   What did a child program gain over its parents?
               Paired where both ran in one match with the same seeds, else observational.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.credit import Credit, row
from analysis.directive_credit import directive_credits
from analysis.edit_credit import edit_credits
from analysis.mutation_credit import mutation_credits
from analysis.scope import scopes

if TYPE_CHECKING:
    import duckdb


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[Credit]:
    """All rows of the view `credit`, over every task of a study.

    Matches of the confirmation stream are left out: what confirms a champion is no evidence of how it came about.
    """
    last = con.execute("SELECT match_id FROM matches WHERE stream = 'confirmation'").fetchall()
    found: list[Credit] = []
    for scope in scopes(con, [*exclude_matches, *(match_id for (match_id,) in last)]):
        found += map(row, edit_credits(scope))
        found += map(row, directive_credits(scope)[0])
        found += map(row, mutation_credits(scope))
    return found
