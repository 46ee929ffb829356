"""What an entry changes against stock, directive by directive."""

from __future__ import annotations

from functools import lru_cache

from programs.diff import diff
from programs.program import Program
from programs.shelf import starter

MOST = 60_000  # characters of a program whose directives are compared; pairing them takes time


@lru_cache(maxsize=512)
def against_stock(text: str, name: str) -> list[tuple[str, str, str]] | None:
    """(added, removed or changed; heading; text) of each directive; None for a program too long to compare."""
    if len(text) > MOST:
        return None
    found = diff(starter("stock"), Program.parse(text, name))
    rows = [("added", d.heading, d.text) for d in found.added]
    rows += [("changed", new.heading, f"{old.text} → {new.text}") for old, new in found.changed]
    return rows + [("removed", d.heading, d.text) for d in found.removed]
