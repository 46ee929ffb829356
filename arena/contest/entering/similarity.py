"""Finds earlier entries that behave like an entry, or are similar by common directives that stock does not have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session as Connection

from arena.contest.stored import SimilarEntry
from arena.contest.tables import ContestEntry
from arena.study import Study
from programs.shelf import starter

LIKE = 0.5  # least Jaccard index of the directives
MOST = 5


def copy_sentence(earlier: ContestEntry | None) -> str:
    """Which entry a copy behaves like; empty for None. Not to be stored: the account may be removed."""
    return f"behaves like {earlier.entrant}'s entry {earlier.number}, which was earlier" if earlier else ""


def copies(connection: Connection, numbers: Iterable[int] | None = None) -> dict[int, ContestEntry]:
    """The entries of entrants that make the researcher do the same on the contest's task as an earlier one: number →
    the earliest such entry. Void and failed entries are no earlier ones. ``numbers``: of these at least."""
    query = select(ContestEntry).where(ContestEntry.role == "program").order_by(ContestEntry.number)
    if numbers is not None:
        behaviours = select(ContestEntry.behaviour).where(ContestEntry.number.in_(list(numbers)))
        query = query.where(ContestEntry.behaviour.in_(behaviours))
    first: dict[str, ContestEntry] = {}
    found: dict[int, ContestEntry] = {}
    for entry in connection.scalars(query):
        if (earlier := first.get(entry.behaviour)) is not None:
            found[entry.number] = earlier
        elif entry.state not in ("void", "failed"):
            first[entry.behaviour] = entry
    return found


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
