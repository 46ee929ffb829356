"""Ideas for several tasks in one list: bundles of each task in turn, then single edits by gain.

A task skips ideas that name edits it lacks, at no cost. So ideas of different tasks do not compete, and the list has
room for all of them. Edits that help on every task where they were tried come first, by mean gain; edits that help one
task and hurt another come after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from meta.mutators.edit_gains import GainTable, Key

if TYPE_CHECKING:
    from analysis.report.evidence import Evidence

Thing = TypeVar("Thing")


def by_turns(lists: Iterable[Sequence[Thing]]) -> list[Thing]:
    """The first of each, the second of each, and so on."""
    nothing = object()
    turns = chain.from_iterable(zip_longest(*lists, fillvalue=nothing))
    return [thing for thing in turns if thing is not nothing]  # type: ignore[misc]


def tables(evidence: Evidence) -> list[GainTable]:
    """The table of each task; with one task, its only one."""
    return [GainTable(part) for part in evidence.parts] or [GainTable(evidence)]


def helps_everywhere(key: Key, on: Sequence[GainTable]) -> bool:
    """Whether an edit has a positive expected gain on every task where it was tried."""
    return all(table.rows[key].gain > 0 for table in on if key in table.rows)
