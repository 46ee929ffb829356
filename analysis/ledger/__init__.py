"""The ledger of a study: append-only JSON lines, hash-chained, written by `writer` and read by `reading`."""

from analysis.ledger.reading import (
    SCHEMA,
    check,
    head_of,
    heads_in,
    missing,
    read,
    recorded_heads,
    records_after,
    require_whole,
    schema_problem,
    segments,
    sound,
    state_of,
    unended,
    verify,
)
from analysis.ledger.writer import Ledger, cannot_write

__all__ = [
    "SCHEMA",
    "Ledger",
    "cannot_write",
    "check",
    "head_of",
    "heads_in",
    "missing",
    "read",
    "recorded_heads",
    "records_after",
    "require_whole",
    "schema_problem",
    "segments",
    "sound",
    "state_of",
    "unended",
    "verify",
]
