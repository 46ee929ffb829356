"""Finds earlier entries that behave like an entry, or are similar by common directives that stock does not have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session as Connection

from arena.contest.stored import SimilarEntry
from arena.contest.tables import ContestEntry
from arena.study import Study
from programs.shelf import starter

LIKE = 0.5  # least Jaccard index of the directives
MOST = 5


class Behaving(Protocol):
    """What `copies_among` needs to know of an entry."""

    @property
    def number(self) -> int: ...
    @property
    def entrant(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def behaviour(self) -> str: ...


def copies_among(entries: Iterable[Behaving]) -> dict[int, Behaving]:
    """The entries of entrants that make the researcher do the same on the contest's task as an earlier one: number →
    the earliest such entry. Void and failed entries are no earlier ones."""
    first: dict[str, Behaving] = {}
    found: dict[int, Behaving] = {}
    for entry in sorted((entry for entry in entries if entry.role == "program"), key=lambda entry: entry.number):
        if (earlier := first.get(entry.behaviour)) is not None:
            found[entry.number] = earlier
        elif entry.state not in ("void", "failed"):
            first[entry.behaviour] = entry
    return found


def copy_sentence(earlier: Behaving | None) -> str:
    """Which entry a copy behaves like; empty for None. Not to be stored: the account may be removed."""
    return f"behaves like {earlier.entrant}'s entry {earlier.number}, which was earlier" if earlier else ""


def copies(connection: Connection, numbers: Iterable[int] | None = None) -> dict[int, Behaving]:
    """`copies_among` all entries; where ``numbers`` are given, of these at least."""
    query = select(ContestEntry)
    if numbers is not None:
        behaviours = select(ContestEntry.behaviour).where(ContestEntry.number.in_(list(numbers)))
        query = query.where(ContestEntry.behaviour.in_(behaviours))
    return copies_among(connection.scalars(query))


class SimilarityIndex:
    """An index from directives to the entries that contain them; filled from the ledger, then entry by entry."""

    def __init__(self, study: Study) -> None:
        self._common = {d.directive_id for d in starter("stock").directives}
        self._holders: dict[str, list[int]] = defaultdict(list)
        self._sizes: dict[int, int] = {}
        for event in study.state.entries.values():
            if event.role == "program":
                directives = study.state.programs[event.program_id].directives
                self._keep(event.number, {d.directive_id for d in directives} - self._common)

    def take(self, number: int, directive_ids: Iterable[str]) -> list[SimilarEntry]:
        """Add an entry; returns similar earlier ones, most similar first."""
        own = set(directive_ids) - self._common
        shared = Counter(other for directive in own for other in self._holders[directive] if other != number)
        alike = {other: n / (len(own) + self._sizes[other] - n) for other, n in shared.items()}
        self._keep(number, own)
        similar = sorted((n for n in alike if n < number and alike[n] >= LIKE), key=lambda n: (-alike[n], n))
        return [{"number": n, "share": round(alike[n], 2)} for n in similar[:MOST]]

    def _keep(self, number: int, own: set[str]) -> None:
        if number not in self._sizes:
            for directive in own:
                self._holders[directive].append(number)
            self._sizes[number] = len(own)
