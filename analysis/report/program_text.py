"""The text of a program, each directive tinted by its estimated gain if that is significant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analysis.report import cells
from analysis.report.source import ReportSource
from analysis.wording import clean, decimals, estimate, many
from programs.common.errors import ProgramError
from programs.directives import Directive

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
    significant: bool

    @property
    def is_tinted(self) -> bool:
        """A setting acts on the whole run, so the experiments that cite it do not show its effect: its association is
        not tinted."""
        return self.significant and (self.kind != "charter" or bool(self.causal))

    @property
    def label(self) -> str:
        """What stands beside the line: ``+1.8 [0.6, 3.0], 14 runs``."""
        value, counted = self.estimate or 0.0, "experiment" if self.method == "directive" else "run"
        digits = decimals(abs(value)) if self.low is None else None
        return f"{estimate(value, self.low, self.high, digits=digits)}, {many(self.n, counted)}"


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


def of(source: ReportSource, program_id: str) -> dict[str, Any] | None:
    """What the page shows of a program's text; None without one."""
    program = source.con.execute(
        "SELECT name, words, text FROM programs WHERE program_id = $1", [program_id]
    ).fetchone()
    if program is None or not program[2]:
        return None
    name, words, text = map(clean, program)
    credit = source.ask("directive_credit", CreditRow, program=program_id)
    columns = ("text", "estimate", "low", "high", "unit", "n", "q", "design", "credit_id")
    known = [{key: getattr(row, key) for key in columns} for row in credit.rows if row.estimate is not None]
    titles, table = cells.table(known) if known else ([], [])
    return {
        "name": name or program_id, "program_id": program_id, "words": words,
        "excerpts": excerpts(text, credit.rows), "long": (words or 0) > LONG, "titles": titles, "rows": table,
        "proven": sum(row.is_tinted for row in credit.rows), "directives": len(credit.rows), "sql": credit.sql,
        "units": sorted({row.unit for row in credit.rows if row.unit}),
    }  # fmt: skip


def excerpts(text: str, credit: Sequence[CreditRow]) -> list[Excerpt]:
    """The program split at its directives, each with a mark for its credit; text that does not parse is one plain
    excerpt."""
    by_id = {row.directive_id: row for row in credit if row.method is not None}
    largest: dict[str | None, float] = defaultdict(float)
    for row in credit:
        if row.is_tinted:
            largest[row.unit] = max(largest[row.unit], abs(row.estimate or 0.0))
    return [Excerpt(lines, tuple(mark(by_id[i], largest) for i in ids if i in by_id)) for lines, ids in _pieces(text)]


def mark(row: CreditRow, largest: Mapping[str | None, float]) -> Mark:
    """``largest``: the largest significant estimate in each unit."""
    value, way, strength = row.estimate or 0.0, "none", 0
    if row.is_tinted:
        way, strength = "up" if value > 0 else "down", min(1 + round(3 * abs(value) / largest[row.unit]), 4)
    return Mark(row.label, row.design or "", way, strength, row.directive_id)


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

    ends = {block.start: block.end for block in outline(text, "program").blocks}
    starts: dict[int, list[str]] = defaultdict(list)
    for directive in directives:
        if directive.kind != "order":
            starts[directive.line - 1].append(directive.directive_id)
    lines, at = [line.rstrip("\r\n") for line in split_lines(text)], 0
    out: list[tuple[str, list[str]]] = []
    for start, following in pairwise([*sorted(starts), len(lines)]):
        end = min(max(ends.get(start, start + 1), start + 1), following)
        if start > at:
            out.append(("\n".join(lines[at:start]), []))
        out.append(("\n".join(lines[start:end]), starts[start]))
        at = end
    return [*out, ("\n".join(lines[at:]), [])] if at < len(lines) else out
