"""Attribution: what earned the gain, from weakest to strongest design.

Three questions, one file each; a row never mixes their answers:
1. edits       What did a single change of the source earn? (orders the ideas of a program)
2. directives  What did experiments that cite a statement of a program earn per device-second, and was it followed?
3. mutations   What did a child program gain over its parents in the same match?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.credit import Credit, DirectiveCredit, EditCredit, MutationCredit

if TYPE_CHECKING:
    import duckdb

__all__ = ["Credit", "DirectiveCredit", "EditCredit", "MutationCredit", "credit"]


def credit(con: duckdb.DuckDBPyConnection, *, exclude_matches: Sequence[str] = ()) -> list[Credit]:
    """All rows of the view `credit`, over every task of a study."""
    return []
