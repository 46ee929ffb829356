"""The program that a champion started from, and what evolution changed in it: the sentence after the verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.knowledge import SHIPPED, family_of, files_of
from analysis.wording import few, interval_decimals, listed, many, number, span
from programs.diff import diff, moved
from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program
from programs.shelf import in_library

if TYPE_CHECKING:
    import duckdb

    from trainer.task import Task

FDR = 0.05  # of the credit
MOST_MOVES = 2  # ideas at another place that are named; of more, how many
CREDIT = """
SELECT task, estimate, low, high, unit, coalesce(q < $2 AND low > 0, false) AS helps,
    coalesce(q < $2 AND high < 0, false) AS hurts
FROM credit WHERE method = 'mutation' AND child_id = $1 AND list_contains($3, task) ORDER BY task
"""


@dataclass(frozen=True)
class ChangeCredit:
    """A row of the view `credit`: the champion minus its (better) parent in the search, on one training task."""

    task: str
    estimate: float
    low: float | None
    high: float | None
    unit: str
    helps: bool
    hurts: bool


@dataclass(frozen=True)
class Origin:
    """``start``: the name of the champion's oldest ancestor; ``kind``: shipped, own (given to ``improve``) or given.
    ``learnt``: families of the measured tasks that its ideas come from; ``alike``: those that this study's tasks belong
    to. ``changes``: in words; ``steps``: mutations; ``parents``: of the last one; the credit is over one of
    them."""

    start: str
    kind: str
    learnt: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    steps: int = 0
    parents: int = 1
    credits: tuple[ChangeCredit, ...] = ()

    def sentence(self, tested: Sequence[str], confirmed: str | None = None) -> str:
        """``tested``: programs that the announced test compares it with; ``confirmed``: what the confirmation showed of
        the change, if it compared the two; empty: another sentence says it."""
        measured = ""
        if self.learnt:
            where = f"{listed(self.alike or self.learnt)} tasks{' like this one' * bool(self.alike)}"
            measured = f" ({'its ideas were ' * (self.kind == 'shipped')}measured on {where})"
        start = f"{self.first}{measured}"
        if not self.steps:
            return f"The champion is {start}, as the study began with it."
        changes = listed(self.changes, len(self.changes)) or "nothing that a researcher reads changed"
        tests = "The announced test compares the two"
        if self.start not in tested:
            tests = f"The confirmation did not test these changes, and the search {self._shown}"
            tests = tests if confirmed is None else confirmed
        return f"The champion was evolved from {start}: {changes}.{tests and f' {tests}.'}"

    @property
    def first(self) -> str:
        """``the shipped program idea-queue``."""
        what = {"shipped": "the shipped program", "own": "your program"}.get(self.kind, "the program")
        named = what if self.start == "program" else f"{what} {self.start}"
        return f"{named} with learnt ideas" if self.learnt and self.kind == "given" else named

    @property
    def _shown(self) -> str:
        """What the search showed of the change; of several steps, of the last one."""
        if not self.credits:
            return "did not measure them alone"
        they = "those of the last step" if self.steps > 1 else "they"
        over = ", compared with one of its parents" if self.parents > 1 else ""
        if len(self.credits) > 1:
            helped = sum(one.helps for one in self.credits)
            return f"showed that {they} help on {helped} of {len(self.credits)} tasks{over}"
        (one,) = self.credits
        digits = interval_decimals(one.low, one.high)
        size = f"{number(one.estimate, digits, True)} {one.unit} [{span(one.low, one.high, digits)}]{over}"
        result = "showed" if one.helps or one.hurts else "did not show"
        return f"{result} that {they} {'hurt' if one.hurts else 'help'} (difference {size})"


def origin_of(con: duckdb.DuckDBPyConnection, program_id: str, tasks: Sequence[Task]) -> Origin | None:
    """From an open study with the view `credit`; None for a program that the ledger does not have."""
    rows = con.execute("SELECT program_id, name, operator, parent_ids, text FROM programs").fetchall()
    known = {row[0]: row for row in rows}
    if program_id not in known:
        return None
    (config,) = con.execute("SELECT config FROM studies").fetchone() or ("{}",)
    settings = json.loads(config)
    used = settings.get("knowledge") or {}
    chain = ancestors(program_id, {key: row[3] for key, row in known.items()}, used.get("program_id"))
    first, last = known[chain[-1]], known[program_id]
    is_learnt = first[0] == used.get("program_id")
    shipped = {file.name for file in files_of((SHIPPED,))} if is_learnt else set()
    is_shipped = in_library(first[1], first[0]) or (is_learnt and shipped.issuperset(used["files"]) and not first[3])
    own = (settings.get("plan") or {}).get("origin")
    learnt = tuple(used["families"]) if is_learnt else ()
    old, new = (Program.parse(row[4], row[1]) for row in (first, last))
    credit = con.execute(CREDIT, [program_id, FDR, [task.name for task in tasks]]).fetchall()
    return Origin(
        start=first[1],
        kind="shipped" if is_shipped else "own" if first[0] == own else "given",
        learnt=learnt,
        alike=tuple(family for family in learnt if family in {family_of(task) for task in tasks}),
        changes=tuple(in_words(old, new)),
        steps=len(chain) - 1,
        parents=len(last[3]),
        credits=tuple(ChangeCredit(*row) for row in credit) if len(chain) > 1 else (),
    )


def ancestors(program_id: str, parents: Mapping[str, Sequence[str]], learnt: str | None) -> list[str]:
    """Ids from the program to its oldest ancestor by the first parents; ``learnt``: the program with ideas learnt on
    other tasks, which is the start of its children even where it was written from the user's."""
    chain = [program_id]
    while chain[-1] != learnt and (before := parents[chain[-1]]) and before[0] in parents:
        chain.append(before[0])
    return chain


def in_words(old: Program, new: Program) -> Iterator[str]:
    """``1 setting changed``, ``8 ideas added``, ``1 statement removed``, ``the order of its ideas changed``: as a
    diff shows them."""
    change = diff(old, new)

    def kind(one: Directive) -> str:
        return {CHARTER: "setting", ORDER: ORDER, "idea": "idea"}.get(one.kind, "statement")

    ways = [("added", one) for one in change.added] + [("removed", one) for one in change.removed]
    counted = Counter((kind(one), way) for way, one in [*ways, *(("changed", new) for _, new in change.changed)])
    for what in ("setting", "idea", "statement"):
        for way in ("changed", "added", "removed"):
            if n := counted[what, way]:
                yield f"{many(n, what)} {way}"
    if any(noun == ORDER for noun, _ in counted) and not any(noun == "idea" for noun, _ in counted):
        moves = [str(one) for one in moved(old, new)]
        yield f"the order of its ideas changed (moved: {few(moves, 'idea', MOST_MOVES)})"
