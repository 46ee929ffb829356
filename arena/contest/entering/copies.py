"""Finds earlier entries that behave like an entry."""

from __future__ import annotations

from collections.abc import Iterable

from arena.contest.tables import ContestEntry


def copy_sentence(earlier: ContestEntry | None) -> str:
    """Which entry a copy behaves like; empty for None. Not to be stored: the account may be removed."""
    return f"behaves like {earlier.entrant}'s entry {earlier.number}, which was earlier" if earlier else ""


def copies(entries: Iterable[ContestEntry]) -> dict[int, ContestEntry]:
    """The entries of entrants that make the researcher do the same on the contest's task as an earlier one: number →
    the earliest such entry. Void and failed entries are no earlier ones. ``entries``: all, in the order of arrival."""
    first: dict[str, ContestEntry] = {}
    copied: dict[int, ContestEntry] = {}
    for entry in entries:
        if entry.role != "program":
            continue
        if (earlier := first.get(entry.behaviour)) is not None:
            copied[entry.number] = earlier
        elif entry.state not in ("void", "failed"):
            first[entry.behaviour] = entry
    return copied
