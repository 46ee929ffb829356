"""The credit of a line of a program: the plain average of the experiments that cite it, beside the model's estimate.

A reader can compute the average from the experiments on the pages. The estimate (`analysis.directive_credit`) can lie
outside of their values: one model of all experiments corrects for the luck of what was kept, uses the same edits in
other experiments, and shrinks what rests on few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from analysis.report.champion import CreditRow
from analysis.wording import many, number
from arena.contest.descent import edits_by_id
from programs.errors import ProgramError
from programs.program import Program

DIGITS = 4  # decimal places, those of the scores in the table of experiments
MOST_WORDINGS, MOST_WORDS = 3, 80  # other lines with the same edits that are named; characters of each


@dataclass(frozen=True)
class DirectiveTries:
    """The experiments that cite a directive on a task: ``n`` with a score, whose changes of it sum to ``total``."""

    directive_id: str
    task: str
    kind: str
    text: str
    n: int
    total: float
    failed: int


@dataclass(frozen=True)
class LineCredit(CreditRow):
    """``average``: of the changes by the ``averaged`` experiments that cite this line or one of the ``wordings``, other
    lines with the same edits; ``failed`` more have no score. None for other methods, and in rows of an earlier version.
    """

    average: float | None = field(default=None, kw_only=True)
    averaged: int = field(default=0, kw_only=True)
    failed: int = field(default=0, kw_only=True)
    wordings: Sequence[str] = field(default=(), kw_only=True)

    @property
    def label(self) -> str:
        if self.average is None:
            return super().label
        tries = f"{number(self.average, DIGITS, True)}{' on average' if self.averaged > 1 else ''}"
        tries += f", {many(self.averaged, 'experiment')}" + (f" and {self.failed} failed" if self.failed else "")
        if self.wordings:
            tries += f", also of {' and '.join(f'“{one}”' for one in self.wordings)}"
        what = "this line alone, adjusted" if self.wordings else "adjusted"
        return f"{tries}; {what} {self.estimated}" if self.is_adjusted else tries

    @property
    def is_adjusted(self) -> bool:
        """Whether the model's estimate is shown: it is tested only where at least three runs cite the line. The model
        has an estimate for each wording; where they share one average, only one that tints the line is shown."""
        return self.average is None or (self.q is not None and (not self.wordings or self.is_proven))


def with_tries(row: dict[str, JsonValue], tries: Sequence[DirectiveTries]) -> dict[str, JsonValue]:
    """A row of the query `directive_credit` with the fields of a `LineCredit`."""
    if row["method"] != "directive":
        return row
    n, failed = sum(one.n for one in tries), sum(one.failed for one in tries)
    if not n:
        return {**row, "estimate": None} if row["low"] is None else row  # a setting that changes no script
    others = [one.text[:MOST_WORDS] for one in tries if one.directive_id != row["directive_id"]]
    more: dict[str, JsonValue] = {"wordings": list[JsonValue](others[:MOST_WORDINGS])} if others else {}
    return {**row, "average": sum(one.total for one in tries) / n, "averaged": n, "failed": failed, **more}


class TriesByLine:
    """The experiments of each directive, with those of the other directives that have the same edits."""

    def __init__(self, every: Sequence[DirectiveTries]) -> None:
        self._alike: dict[tuple[str, str], list[DirectiveTries]] = defaultdict(list)
        self._key: dict[str, str] = {}
        for one in every:
            self._key[one.directive_id] = edits_of_idea(one.text) if one.kind == "idea" else ""
            self._alike[self._named(one.directive_id), one.task].append(one)

    def of(self, directive_id: str, task: str) -> list[DirectiveTries]:
        return self._alike.get((self._named(directive_id), task), [])

    def _named(self, directive_id: str) -> str:
        return self._key.get(directive_id) or directive_id


@lru_cache(maxsize=20_000)
def edits_of_idea(text: str) -> str:
    """The edits and conditions that an idea names, as the lineage compares them; empty if it names none."""
    try:
        return next(iter(edits_by_id(Program.parse(f"## Ideas\n\n- {text}\n")).values()), "")
    except ProgramError:
        return ""
