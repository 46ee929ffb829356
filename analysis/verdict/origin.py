"""The program that a champion started from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Origin:
    """``start``: the name of the champion's oldest ancestor; ``steps``: the mutations since."""

    start: str
    steps: int = 0


def origin_of(con: duckdb.DuckDBPyConnection, program_id: str) -> Origin | None:
    """From an open study; None for a program that the ledger does not have."""
    rows = con.execute("SELECT program_id, name, parent_ids FROM programs").fetchall()
    names, parents = {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}
    if program_id not in names:
        return None
    (config,) = con.execute("SELECT config FROM studies ORDER BY started_at DESC LIMIT 1").fetchone() or (None,)
    chain = ancestors(program_id, parents, (json.loads(config or "{}").get("knowledge") or {}).get("program_id"))
    return Origin(names[chain[-1]], len(chain) - 1)


def ancestors(program_id: str, parents: Mapping[str, Sequence[str]], learnt: str | None) -> list[str]:
    """Ids from the program to its oldest ancestor by the first parents; ``learnt``: the program with ideas learnt on
    other tasks, which is the start of its children even where it was written from the user's."""
    chain = [program_id]
    while chain[-1] != learnt and (before := parents[chain[-1]]) and before[0] in parents:
        chain.append(before[0])
    return chain
