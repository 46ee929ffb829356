"""How far a number can be trusted, weakest first, and what is said beside the weak ones."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

ORDER = ("unverified", "self-reported", "scored", "verified")
WHY = {
    "unverified": "what ran was not sandboxed",
    "self-reported": "the script printed these numbers itself",
}


def weakest(trusts: Iterable[str | None]) -> str | None:
    """The weakest trust among those given, None where none is; a word that we do not know is the weakest of all."""
    there = [trust for trust in trusts if trust]
    return min(there, key=lambda trust: ORDER.index(trust) if trust in ORDER else -1, default=None)


def counts(status: str, trust: str | None) -> bool:
    """Whether the trust of a measurement says something: it was scored, or ran without a sandbox."""
    return status == "ok" or trust == "unverified"


def marked(trust: str | None) -> str:
    """``unverified: what ran was not sandboxed`` for a trust that must be told wherever a number is; else empty."""
    return f"{trust}: {WHY[trust]}" if trust in WHY else ""


def remarks(trusts: Sequence[str | None]) -> list[str]:
    """Sentences about the trust of rows that are shown or compared together."""
    present = [trust for trust in ORDER if trust in set(trusts)]
    out = [f"Scores are {marked(trust)}." for trust in present if trust in WHY]
    if len(present) > 1:
        out.append(f"Trust differs here ({', '.join(present)}): a difference may be one of scoring.")
    return out


def findings_line(rows: Iterable[dict[str, Any]], study: str) -> str:
    """``2 findings: leak (1), rows (1): metaloop sql STUDY 'FROM findings'`` of rows {kind, n}; empty without any."""
    counts = [(str(row["kind"]), int(row["n"])) for row in rows]
    total = sum(n for _, n in counts)
    if not total:
        return ""
    listed = ", ".join(f"{kind} ({n})" for kind, n in counts)
    return f"{total} finding{'s' if total > 1 else ''}: {listed}: metaloop sql {shlex.quote(study)} 'FROM findings'"
