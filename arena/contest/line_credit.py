"""The credit of a line of a program: the plain average of the experiments that cite it, beside the model's estimate.

A reader can compute the average from the experiments on the pages. The estimate (`analysis.directive_credit`) can lie
outside of their values: one model of all experiments corrects for the luck of what was kept, uses the same edits in
other experiments, and shrinks what rests on few.

Both count the runs before the race. The race decides and is used for nothing else, so its experiments have an average
of their own beside them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from analysis.report.champion import CreditRow
from analysis.wording import many, number
from arena.contest.descent import edits_by_id
from programs.errors import ProgramError
from programs.program import Program

PER_EXPERIMENT = " per experiment"
DIGITS = 4  # decimal places, those of the scores in the table of experiments
MOST_ENTRIES = 20  # with a line of the same edits, of which the page names some


@dataclass(frozen=True)
class DirectiveHolders:
    """A directive with the programs that have it."""

    directive_id: str
    kind: str
    text: str
    program_ids: Sequence[str]

    @property
    def key(self) -> str:
        """Equal for the lines that share their experiments: those with the same edits."""
        return (edits_of_idea(self.text) if self.kind == "idea" else "") or self.directive_id


@dataclass(frozen=True)
class SharedTries:
    """The experiments that cite a line of this key on a task: ``n`` with a score, whose changes sum to ``total``;
    ``raced`` of the race with theirs. ``lines``: the directives that the ones before the race cite, ``race_lines``:
    those of the race."""

    key: str
    task: str
    n: int
    total: float
    failed: int
    lines: Sequence[str]
    raced: int = 0
    race_total: float = 0.0
    race_failed: int = 0
    race_kept: int = 0
    race_lines: Sequence[str] = ()


@dataclass(frozen=True)
class LineCredit(CreditRow):
    """``average``: of the changes by the ``averaged`` experiments that cite this line, if ``has_own``, or one of
    ``others`` other lines with the same edits; ``failed`` more have no score. None for other methods, and in rows of an
    earlier version. ``entries``: numbers of some entries with such a line. ``named``: of several tasks. ``raced``: the
    experiments of the race with a score, whose changes are ``race_average`` on average; None before the decision.
    ``race_own``, ``race_others``: as ``has_own`` and ``others``, of these."""

    average: float | None = field(default=None, kw_only=True)
    averaged: int = field(default=0, kw_only=True)
    failed: int = field(default=0, kw_only=True)
    has_own: bool = field(default=True, kw_only=True)
    others: int = field(default=0, kw_only=True)
    entries: Sequence[int] = field(default=(), kw_only=True)
    named: bool = field(default=False, kw_only=True)
    race_average: float | None = field(default=None, kw_only=True)
    raced: int = field(default=0, kw_only=True)
    race_failed: int = field(default=0, kw_only=True)
    race_kept: int = field(default=0, kw_only=True)
    race_own: bool = field(default=True, kw_only=True)
    race_others: int = field(default=0, kw_only=True)

    @property
    def label(self) -> str:
        where = f"{self.task}, in {(self.unit or '').removesuffix(PER_EXPERIMENT)}: " if self.named else ""
        said = [self._tries(self.average)] if self.average is not None else [super().label] * self.is_adjusted
        if self.race_average is not None:
            race = _averaged(self.race_average, self.raced, self.race_failed)
            race += _of_lines(self.race_own, self.race_others)
            said.append(f"in the race {race}, {self.race_kept or 'none'} kept")
        if self.is_proven and not self.is_tinted:
            said.append("not tinted: a setting")
        return where + "; ".join(said)

    def _tries(self, average: float) -> str:
        """Other lines are counted and not quoted: a quotation could contain figures that look like these."""
        tries = _averaged(average, self.averaged, self.failed) + _of_lines(self.has_own, self.others)
        what = "this line alone, adjusted" if self.others else "adjusted"
        if not self.is_adjusted:
            return tries
        tested = "significant" if self.is_proven else "not significant"  # corrected, as the interval is not
        return f"{tries}; {what} {self.estimated}, {tested}"

    @property
    def significance(self) -> str:
        """Whether the line is tinted, in a word; the mark beside the line says the same."""
        if self.is_proven and not self.is_tinted:
            return "yes, but a setting: not tinted"
        return "yes" if self.is_tinted else "no"

    @property
    def is_adjusted(self) -> bool:
        """Whether the model's estimate is shown: it is tested only where at least three runs cite the line. The model
        has an estimate for each wording; where they share one average, only one that tints the line is shown."""
        if self.average is None:
            return self.method != "directive" or bool(self.n)
        return self.q is not None and (not self.others or self.is_proven)


def _averaged(average: float, n: int, failed: int) -> str:
    tries = f"{number(average, DIGITS, True)}{' on average' if n > 1 else ''}, {many(n, 'experiment')}"
    return f"{tries} and {failed} failed" if failed else tries


def _of_lines(own: bool, others: int) -> str:
    """The lines that experiments cite, if there are others with the same edits."""
    lines = f"this line and {others} other{'s' if others > 1 else ''}" if own else many(others, "other line")
    return f" of {lines} with the same edits" if others else ""


class TriesByLine:
    """The experiments of each directive, which it shares with the others that have the same edits. ``numbers``: the
    entries of each program; ``units``: of the scores on each task."""

    def __init__(
        self,
        held: Sequence[DirectiveHolders],
        tries: Sequence[SharedTries],
        numbers: Mapping[str, Sequence[int]],
        units: Mapping[str, str],
    ) -> None:
        self._keys, self._units = {one.directive_id: one.key for one in held}, units
        self._tries: dict[str, dict[str, SharedTries]] = defaultdict(dict)
        for one in tries:
            self._tries[one.key][one.task] = one
        having: dict[str, set[int]] = defaultdict(set)
        for line in held:
            having[self._keys[line.directive_id]].update(n for p in line.program_ids for n in numbers.get(p, ()))
        self._entries = {key: sorted(some)[:MOST_ENTRIES] for key, some in having.items()}

    def credited(self, rows: Iterable[dict[str, JsonValue]]) -> Iterator[dict[str, JsonValue]]:
        """The rows of the query `directive_credit` of one directive, with the fields of a `LineCredit`; and a row for
        each task on which only other lines with the same edits were tried."""
        rows = list(rows)
        yield from (self._with_tries(row) for row in rows)
        first, tasks = rows[0], {row["task"] for row in rows}
        if first["kind"] != "idea":
            return
        for task, tries in self._of(first).items():
            if task not in tasks and (tries.n or tries.raced):
                estimate = tries.total / tries.n if tries.n else None
                only: dict[str, JsonValue] = {"estimate": estimate, "low": None, "high": None, "n": 0, "q": None}
                only |= {"task": task, "method": "directive", "design": "observational", "causal": False}
                only |= {"credit_id": None, "unit": f"{self._units.get(task, '')}{PER_EXPERIMENT}"}
                yield self._with_tries({**first, **only})

    def _of(self, row: Mapping[str, JsonValue]) -> dict[str, SharedTries]:
        directive = str(row["directive_id"])
        return self._tries.get(self._keys.get(directive, directive), {})

    def _with_tries(self, row: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if row["method"] != "directive":
            return row
        tries, directive = self._of(row).get(str(row["task"])), str(row["directive_id"])
        if tries is None or not (tries.n or tries.raced):
            return {**row, "estimate": None} if row["low"] is None else row  # a setting that changes no script
        own, race_own = directive in tries.lines, directive in tries.race_lines
        others, race_others = len(tries.lines) - own, len(tries.race_lines) - race_own
        said = {**row}
        if tries.n:
            said |= {"average": tries.total / tries.n, "averaged": tries.n, "failed": tries.failed}
        if tries.raced:
            said |= {"race_average": tries.race_total / tries.raced, "raced": tries.raced}
            said |= {"race_failed": tries.race_failed, "race_kept": tries.race_kept}
        if others:
            said |= {"has_own": own, "others": others}
        if race_others:
            said |= {"race_own": race_own, "race_others": race_others}
        if others or race_others:
            said["entries"] = list[JsonValue](self._entries[tries.key])
        return said


@lru_cache(maxsize=100_000)
def edits_of_idea(text: str) -> str:
    """The edits and conditions that an idea names, as the lineage compares them; empty if it names none."""
    if "`" not in text:
        return ""
    try:
        return next(iter(edits_by_id(Program.parse(f"## Ideas\n\n- {text}\n")).values()), "")
    except ProgramError:
        return ""
