"""The page of evidence over several tasks: what helped everywhere, what on one task only, then the page of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.credit import Estimate

if TYPE_CHECKING:
    from analysis.evidence import Evidence


@dataclass(frozen=True)
class Compared:
    """A row over the tasks, and those of the single tasks that it is the mean of."""

    whole: Estimate
    on: tuple[Estimate, ...]

    @property
    def agrees(self) -> bool:
        """Whether every task says that it helped."""
        return all(row.estimate > 0 for row in self.on)


def sections(facts: Evidence) -> dict[str, Any]:
    """What the page says beyond the rows of the single tasks; of edits and directives only what several tried."""
    edits, directives = compared(facts, facts.edits), compared(facts, facts.directives)
    return {
        "edits": split(edits, "Edits that helped on every task where they were tried (several tried them)",
                       "Edits that helped on one task and hurt on another"),
        "directives": split(directives, "Directives whose experiments brought something on every task",
                            "Directives whose experiments brought something on one task only"),
        "mutations": compared(facts, facts.mutations),
    }  # fmt: skip


def split(rows: Iterable[Compared], everywhere: str, one: str) -> list[tuple[str, list[Compared]]]:
    shared = [row for row in rows if len(row.on) > 1]
    partly = [row for row in shared if not row.agrees and any(on.estimate > 0 for on in row.on)]
    return [(everywhere, [row for row in shared if row.agrees]), (one, partly)]


def compared(facts: Evidence, rows: Sequence[Estimate]) -> list[Compared]:
    own = {
        row.credit_id: row
        for part in facts.parts
        for of_kind in (part.edits, part.directives, part.mutations)
        for row in of_kind
    }
    return [Compared(row, tuple(own[i] for i in row.ids)) for row in rows]
