"""The text of a program, each directive tinted by its estimated gain if that is significant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analysis.report import cells
from analysis.report.source import ReportSource
from analysis.views.tables import typed_rows
from analysis.wording import clean, decimals, interval_decimals, many, number
from programs.common.errors import ProgramError
from programs.directives import Directive

LEVEL = 0.05
LONG = 1500  # words; a longer text scrolls in its own frame


@dataclass(frozen=True)
class CreditRow:
    """A directive of a program with its strongest credit row; the estimate is None without one."""

    directive_id: str
    kind: str
    text: str
    credit_id: str | None
    method: str | None
    design: str | None
    estimate: float | None
    low: float | None
    high: float | None
    n: int | None
    q: float | None
    unit: str | None
    causal: bool | None
    task: str | None = None

    @property
    def is_proven(self) -> bool:
        """Whether it is significant: the interval excludes zero and q is below the false discovery rate."""
        if self.q is None or self.low is None or self.high is None:
            return False
        return self.q < LEVEL and (self.low > 0 or self.high < 0)

    @property
    def is_tinted(self) -> bool:
        """A setting acts on the whole run, so the experiments that cite it do not show its effect: its association is
        not tinted."""
        return self.is_proven and (self.kind != "charter" or bool(self.causal))

    @property
    def sample(self) -> str:
        """What the estimate rests on: ``14 runs``."""
        return many(self.n, "experiment" if self.method == "directive" else "run")

    @property
    def label(self) -> str:
        """What stands beside the line: ``+1.8 [0.6, 3.0], 14 runs``."""
        return f"{self.estimated}, {self.sample}"

    @property
    def estimated(self) -> str:
        """The estimate with its interval: ``+1.8 [0.6, 3.0]``."""
        inside = "" if self.low is None else f" [{number(self.low, self.digits)}, {number(self.high, self.digits)}]"
        return f"{number(self.estimate or 0.0, self.digits, True)}{inside}"

    @property
    def digits(self) -> int:
        if self.low is None or self.high is None:
            return decimals(abs(self.estimate or 0.0))
        return interval_decimals(self.low, self.high)


@dataclass(frozen=True)
class Mark:
    """The estimate beside an excerpt: ``+1.8 [0.6, 3.0], 14 runs``, its design and its direction."""

    label: str
    design: str
    way: str  # up, down or none: none if not significant
    strength: int  # 0 to 4: relative to the largest significant estimate in the same unit
    directive_id: str = ""


@dataclass(frozen=True)
class Excerpt:
    """Lines of the program that belong to the same directives; without marks they stay plain."""

    text: str
    marks: tuple[Mark, ...] = ()

    @property
    def way(self) -> str:
        return max(self.marks, key=lambda mark: mark.strength, default=Mark("", "", "none", 0)).way

    @property
    def strength(self) -> int:
        return max((mark.strength for mark in self.marks), default=0)


@dataclass(frozen=True)
class ShownText:
    """A program with the estimates of its directives."""

    program_id: str
    name: str | None
    words: int | None
    text: str | None


def of(source: ReportSource, program_id: str) -> dict[str, Any] | None:
    """What the page shows of a program's text; None without one."""
    asked = source.con.execute("SELECT program_id, name, words, text FROM programs WHERE program_id = $1", [program_id])
    row = next(iter(typed_rows(asked, ShownText, clean)), None)
    if row is None or not row.text:
        return None
    credit = source.ask("directive_credit", CreditRow, program=program_id)
    known = [vars(one) for one in credit.rows if one.estimate is not None]
    shown = ("text", "estimate", "low", "high", "unit", "n", "q", "design", "credit_id")
    titles, table = cells.table([{key: one[key] for key in shown} for one in known]) if known else ([], [])
    return {
        "name": row.name or row.program_id, "program_id": row.program_id, "words": row.words,
        "excerpts": excerpts(row.text, credit.rows), "long": (row.words or 0) > LONG, "titles": titles, "rows": table,
        "proven": sum(one.is_tinted for one in credit.rows), "directives": len(credit.rows), "sql": credit.sql,
        "units": sorted({one.unit for one in credit.rows if one.unit}),
    }  # fmt: skip


def excerpts(text: str, credit: Sequence[CreditRow]) -> list[Excerpt]:
    """The program split at its directives, each with a mark for each task that it has credit on; text that does not
    parse is one plain excerpt."""
    by_id: dict[str, dict[str | None, CreditRow]] = defaultdict(dict)
    for row in credit:
        by_id[row.directive_id][row.task] = row
    largest: dict[str | None, float] = defaultdict(float)
    for row in credit:
        if row.is_tinted:
            largest[row.unit] = max(largest[row.unit], abs(row.estimate or 0.0))
    out = []
    for lines, ids in _pieces(text):
        rows = [row for i in ids for row in by_id.get(i, {}).values() if row.method is not None]
        out.append(Excerpt(lines, tuple(mark(row, largest) for row in rows)))
    return out


def mark(row: CreditRow, largest: Mapping[str | None, float]) -> Mark:
    estimate = row.estimate or 0.0
    strength = 1 + round(3 * abs(estimate) / largest[row.unit]) if row.is_tinted else 0
    return Mark(
        label=row.label,
        design=row.design or "",
        way=("up" if estimate > 0 else "down") if row.is_tinted else "none",
        strength=min(strength, 4),
        directive_id=row.directive_id,
    )


def _pieces(text: str) -> list[tuple[str, list[str]]]:
    """(lines, ids of the directives that start there), in order; joined they are the whole text. Of a program with
    several files, each comes below its path."""
    from programs.program import Program

    try:
        program = Program.parse(text)
        out = _of_file(program.text, [d for d in program.directives if not d.file])
        for path, further in program.further.items():
            out.append((f"\n==> {path} <==", []))
            out += _of_file(further, [d for d in program.directives if d.file == path])
    except ProgramError:
        return [(text, [])]
    head = [(f"==> {program.files[0][0]} <==", list[str]())] if program.is_set else []
    return [*head, *out, *((f"\n==> {path} (living) <==\n{raw.decode()}", list[str]()) for path, raw in program.living)]


def _of_file(text: str, directives: Sequence[Directive]) -> list[tuple[str, list[str]]]:
    from programs.common.text import split_lines
    from programs.structure import outline

    directives = [d for d in directives if d.kind != "order"]
    ends = {block.start: block.end for block in outline(text, "program").blocks}
    starts: dict[int, list[str]] = defaultdict(list)
    for directive in directives:
        starts[directive.line - 1].append(directive.directive_id)
    lines, at = [line.rstrip("\r\n") for line in split_lines(text)], 0
    out: list[tuple[str, list[str]]] = []
    order = sorted(starts)
    for start, following in pairwise([*order, len(lines)]):
        end = min(max(ends.get(start, start + 1), start + 1), following)
        if start > at:
            out.append(("\n".join(lines[at:start]), []))
        out.append(("\n".join(lines[start:end]), starts[start]))
        at = end
    return [*out, ("\n".join(lines[at:]), [])] if at < len(lines) else out
