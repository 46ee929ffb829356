"""Part 5: where the programs came from: nodes by verified gain, edges by directives added and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import count, listed, number, places, short, span, typical
from analysis.statistics import interval
from programs.errors import ProgramError

MOST = 40  # programs drawn


def section(facts: Facts) -> Section | None:
    """None of a match or an import: nothing there descends from anything."""
    champion = facts.champion.first.get("program_id")
    found = facts.source.ask("lineage", champion=champion or "", most=MOST)
    if not any(row["parent_ids"] for row in found.rows):
        return None
    nodes = tree([node(row, champion) for row in found.rows])
    edges = {row["program_id"]: change(row, found.rows) for row in found.rows}
    for item in nodes:
        item["change"] = summary(edges[item["id"]])
    left = (facts.overview.first["programs"] or 0) - len(nodes)
    lead = (
        "Each row is a program, below the one that it was made from; the line leads from its parent, and one that "
        "runs to the right is a gain. Beside it: how many directives the child added (+), removed (−) and changed "
        "(~). A name like g2-1-write-ideas is generation 2, child 1, made by the operator write-ideas."
    )
    unrun = any(item["gain"] is None for item in nodes)
    note = (
        f"The champion, its ancestors and the best of the rest; {count(left)} more are left out. " if left > 0 else ""
    )
    picture = Figure(
        name="tree",
        kind="lineage",
        title=f"Verified gain by program, in {facts.score_unit}",
        caption=f"{note}Mean over the runs that chose who goes on (not those of the confirmation), with its 95% "
        "interval; what was chosen for its mean is flattered by "
        f"it.{over_tasks(facts)}{' Not run: it behaves like another one, or the study ended first.' * unrun}",
        data={"unit": facts.score_unit, "rows": nodes},
        table=table(nodes, edges, facts.score_unit),
        answers=(found,),
        legend=(
            ("program", "program"),
            *([("champion", "champion")] if champion else []),
        ),
    )
    return Section("lineage", "Where the programs came from", lead, (picture,))


def over_tasks(facts: Facts) -> str:
    """What a score over several tasks is."""
    if not facts.homes:
        return ""
    sizes = (f"{number(row['size'], places(row['size']))} {row['unit']} on {row['task']}" for row in facts.scales.rows)
    told = listed(list(sizes))
    return f" Gains are means over {len(facts.homes)} tasks, on each in units of what stock gains there: {told}."


def node(row: Mapping[str, Any], champion: str | None) -> dict[str, Any]:
    low, high = interval(row["gain"], row["se"], row["n"] - 1) if row["gain"] is not None else (None, None)
    return {
        "id": row["program_id"],
        "name": row["name"] or short(row["program_id"]),
        "generation": row["generation"],
        "operator": row["operator"] or "",
        "parents": row["parent_ids"] or [],
        "gain": row["gain"],
        "low": low,
        "high": high,
        "n": row["n"] or 0,
        "champion": row["program_id"] == champion,
        "reason": row["reason"] or "",
    }


def tree(nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every parent before its children, a family together, the best family first; ``depth`` is set."""
    there = {item["id"]: item for item in nodes}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for item in nodes:
        first = next((parent for parent in item["parents"] if parent in there and parent != item["id"]), None)
        children.setdefault(first, []).append(item)
    out: list[dict[str, Any]] = []
    stack = [(item, 0) for item in reversed(children.get(None, []))]
    while stack:
        item, depth = stack.pop()
        out.append(item | {"depth": depth})
        stack += [(child, depth + 1) for child in reversed(children.pop(item["id"], []))]
    return out


def change(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What the directives of a program are against its first parent: added, removed, changed, as text."""
    from programs.diff import diff
    from programs.program import Program

    texts = {other["program_id"]: other["text"] for other in rows}
    parent = next((p for p in row["parent_ids"] or () if texts.get(p)), None)
    if parent is None or not row["text"]:
        return {}
    try:
        found = diff(Program.parse(texts[parent]), Program.parse(row["text"]))
    except ProgramError:
        return {}
    moved = any(new.kind == "order" for _, new in found.changed)
    return {
        "order": ["the ideas stand in another order"] if moved else [],
        "added": [d.text for d in found.added if d.kind != "order"],
        "removed": [d.text for d in found.removed if d.kind != "order"],
        "changed": [new.text for _, new in found.changed if new.kind != "order"],
    }


def summary(edge: Mapping[str, Sequence[str]]) -> str:
    """``+15 −1 ~1``; ``order`` where only the order of the ideas is another."""
    signs = (("added", "+"), ("removed", "\u2212"), ("changed", "~"))
    told = " ".join(f"{sign}{len(edge[kind])}" for kind, sign in signs if edge.get(kind))
    return told or ("order" if edge.get("order") else "")


def table(nodes: Sequence[dict[str, Any]], edges: Mapping[str, Mapping[str, Sequence[str]]], unit: str) -> Table:
    digits = places(typical((item["high"] - item["low"]) / 4 for item in nodes if item["high"] is not None))
    names = {item["id"]: item["name"] for item in nodes}
    titles = (
        "program",
        ">generation",
        "from",
        "made by",
        f">gain, {unit}",
        "95% interval",
        ">runs",
        "added",
        "removed",
        "changed",
    )
    return Table.of(
        titles,
        [
            (
                item["name"],
                count(item["generation"]),
                " × ".join(names.get(p, short(p)) for p in item["parents"]),
                item["reason"] or item["operator"],
                number(item["gain"], digits),
                span(item["low"], item["high"], digits),
                count(item["n"]),
                *(texts(edges[item["id"]].get(kind, [])) for kind in ("added", "removed", "changed")),
            )
            for item in nodes
        ],
    )


def texts(found: Sequence[str], most: int = 6, length: int = 90) -> str:
    """The first few, a line each, long ones cut."""
    shown = [text if len(text) <= length else text[: length - 1] + "…" for text in found[:most]]
    return "\n".join([*shown, f"and {len(found) - most} more"] if len(found) > most else shown)
