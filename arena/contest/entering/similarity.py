"""Finds earlier entries that are similar to an entry, by common directives that stock does not have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from arena.contest.stored import SimilarEntry
from arena.study import Study
from programs.shelf import starter

LIKE = 0.5  # least Jaccard index of the directives
MOST = 5


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
