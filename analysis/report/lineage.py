"""Part 5: the lineage: programs by verified gain, linked to their parents, with directives added and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.statistics import interval
from analysis.wording import count, decimals, listed, number, short, span, typical
from programs.errors import ProgramError
from programs.shelf import starter

MOST = 40  # programs drawn


@dataclass(frozen=True)
class ProgramRow:
    program_id: str
    name: str | None
    generation: int
    operator: str | None
    parent_ids: Sequence[str] | None
    n: int | None
    gain: float | None
    se: float | None
    df: int | None  # of se
    text: str | None
    reason: str | None


@dataclass(frozen=True)
class DrawnProgram:
    """A program as the chart embeds it."""

    id: str
    name: str
    generation: int
    operator: str
    parents: Sequence[str]
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    champion: bool = False
    reason: str = ""
    depth: int = 0
    change: str = ""


def section(facts: ReportFacts) -> ReportSection | None:
    """None for a match or an import, where no program has a parent."""
    champion = facts.champion_id
    stock = starter("stock").program_id
    programs = facts.source.ask("lineage", ProgramRow, champion=champion or "", most=MOST, stock=stock)
    if not any(row.parent_ids for row in programs.rows):
        return None
    edges = {row.program_id: change(row, programs.rows) for row in programs.rows}
    nodes = tree([replace(node(row, champion), change=summary(edges[row.program_id])) for row in programs.rows])
    left = facts.totals.programs - len(nodes)
    lead = (
        "Each row is a program, below its parent. The line from parent to child leans to the right if the child "
        "gains more. On the right: the number of directives that the child added (+), removed (−) and changed (~). A "
        "name like idea-queue-v2 is a program that this study wrote from idea-queue."
    )
    unrun = any(item.gain is None for item in nodes)
    note = (
        f"The champion, its ancestors and the best other programs; {count(left)} more are not shown. "
        if left > 0
        else ""
    )
    picture = ReportFigure(
        name="tree",
        kind="lineage",
        title=f"{facts.gain_name.capitalize()} by program, in {facts.score_unit}",
        caption=f"{note}Mean over the runs of the search (without the confirmation), with 95% interval. Programs "
        "selected for their high mean look better than they are."
        f"{over_tasks(facts)}{' Not run: the program behaves like another one, or the study ended first.' * unrun}",
        data={"unit": facts.score_unit, "rows": [asdict(item) for item in nodes], "gain": facts.gain_name},
        table=table(nodes, edges, facts.score_unit),
        answers=(programs,),
        legend=(("program", "program"), *([("champion", "champion")] if champion else [])),
    )
    return ReportSection("lineage", "Lineage of the programs", lead, (picture,))


def over_tasks(facts: ReportFacts) -> str:
    """How the scores over several tasks are computed."""
    if not facts.training_tasks:
        return ""
    if any(row.family for row in facts.scales.rows):
        by_family = {row.family: f"{row.size:.3g} {row.unit} on {row.family}" for row in facts.scales.rows}
        lead = "Gains are 1 plus the mean lead over stock on the same tasks, in units of its mean gain on the family"
        return f" {lead}: {listed(list(by_family.values()))}."
    sizes = (f"{number(row.size, decimals(row.size))} {row.unit} on {row.task}" for row in facts.scales.rows)
    scales = listed(list(sizes))
    return f" Gains are means over {len(facts.training_tasks)} tasks, each divided by stock's gain there: {scales}."


def node(row: ProgramRow, champion: str | None) -> DrawnProgram:
    low, high = interval(row.gain, row.se, row.df or 0) if row.gain is not None else (None, None)
    return DrawnProgram(
        row.program_id,
        row.name or short(row.program_id),
        row.generation,
        row.operator or "",
        row.parent_ids or [],
        row.gain,
        low,
        high,
        row.n or 0,
        row.program_id == champion,
        row.reason or "",
    )


def tree(nodes: Sequence[DrawnProgram]) -> list[DrawnProgram]:
    """Sorts every parent before its children, families together, the best family first; sets ``depth``."""
    there = {item.id for item in nodes}
    children: dict[str | None, list[DrawnProgram]] = {}
    for item in nodes:
        first = next((parent for parent in item.parents if parent in there and parent != item.id), None)
        children.setdefault(first, []).append(item)
    out: list[DrawnProgram] = []
    stack = [(item, 0) for item in reversed(children.get(None, []))]
    while stack:
        item, depth = stack.pop()
        out.append(replace(item, depth=depth))
        stack += [(child, depth + 1) for child in reversed(children.pop(item.id, []))]
    return out


def change(row: ProgramRow, rows: Sequence[ProgramRow]) -> dict[str, list[str]]:
    """The directives of a program compared with its first parent: added, removed, changed, as text."""
    from programs.diff import diff
    from programs.program import Program

    texts = {other.program_id: other.text for other in rows if other.text}
    parent = next((p for p in row.parent_ids or () if p in texts), None)
    if parent is None or not row.text:
        return {}
    try:
        delta = diff(Program.parse(texts[parent]), Program.parse(row.text))
    except ProgramError:
        return {}
    moved = any(new.kind == "order" for _, new in delta.changed)
    return {
        "order": ["the ideas are in another order"] if moved else [],
        "added": [d.text for d in delta.added if d.kind != "order"],
        "removed": [d.text for d in delta.removed if d.kind != "order"],
        "changed": [new.text for _, new in delta.changed if new.kind != "order"],
    }


def summary(edge: Mapping[str, Sequence[str]]) -> str:
    """``+15 −1 ~1``; ``order`` if only the order of the ideas changed."""
    signs = (("added", "+"), ("removed", "\u2212"), ("changed", "~"))
    counts = " ".join(f"{sign}{len(edge[kind])}" for kind, sign in signs if edge.get(kind))
    return counts or ("order" if edge.get("order") else "")


def table(nodes: Sequence[DrawnProgram], edges: Mapping[str, Mapping[str, Sequence[str]]], unit: str) -> ReportTable:
    widths = (item.high - item.low for item in nodes if item.high is not None and item.low is not None)
    digits = decimals(typical(width / 4 for width in widths))
    names = {item.id: item.name for item in nodes}
    return ReportTable.of(
        nodes,
        {
            "program": lambda item: item.name,
            ">generation": lambda item: count(item.generation),
            "from": lambda item: " × ".join(names.get(p, short(p)) for p in item.parents),
            "made by": lambda item: item.reason or item.operator,
            f">gain, {unit}": lambda item: number(item.gain, digits),
            "95%, between runs": lambda item: span(item.low, item.high, digits),
            ">runs": lambda item: count(item.n),
            "added": lambda item: texts(edges[item.id].get("added", [])),
            "removed": lambda item: texts(edges[item.id].get("removed", [])),
            "changed": lambda item: texts(edges[item.id].get("changed", [])),
        },
    )


def texts(directives: Sequence[str], most: int = 6, length: int = 90) -> str:
    """The first few, a line each, long ones cut."""
    shown = [text if len(text) <= length else text[: length - 1] + "…" for text in directives[:most]]
    return "\n".join([*shown, f"and {len(directives) - most} more"] if len(directives) > most else shown)
