"""The lineage page: entries in order of arrival, and the directives that later entries took over from earlier ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from analysis.wording import decimals, number, tick_step
from arena.contest.announced import digits_of, outcome, race_result
from arena.contest.contest import Contest
from arena.contest.descent import IdeaLineage, LineageEdge, LineageEntry
from arena.contest.standing import board_digits, board_of, void_gains
from arena.contest.stored import Announcement, entry_label
from arena.contest.tables import ContestEntry
from arena.contest.web.host import Host
from arena.contest.web.pages import show

ROW, TOP, LEFT, WIDTH, AXIS = 26, 24, 200, 440, 34  # in units of the viewBox; a phone scales it to three quarters
NAMES = 134  # room for the names, right of the arcs
FIGURES = 42  # room for the gains, right of the plot
MOST_BEND = 84  # of an arc's control points; the arc itself reaches three quarters of it


def lineage_routes(host: Host) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/lineage")
    def page(request: Request) -> Response:
        return show(host, request, "lineage", **lineage_values(host))

    @routes.get("/api/v1/lineage", include_in_schema=True, summary="First entry of each idea, and who took it over")
    def as_json() -> Any:
        lineage = lineage_values(host)["lineage"]
        return {"hidden": host.contest.hides_texts, **(lineage or {"nodes": [], "ideas": []})}

    return routes


class EntryLabel(TypedDict):
    entry_id: str
    entrant: str
    name: str
    label: str


class LineageValues(TypedDict):
    """The values of the page: who is on it by number, and the plot."""

    hidden: bool
    lineage: IdeaLineage | None
    who: dict[int, EntryLabel]
    drawn: Drawing | None
    won: set[int]
    digits: int  # decimal places of the gains


def lineage_values(host: Host) -> LineageValues:
    """The lineage computed by the queue's process, with names; None while texts are hidden."""
    hidden = host.contest.hides_texts
    stored = None if hidden else host.contest.database.fact("lineage")
    if not stored:
        return {"hidden": hidden, "lineage": None, "who": {}, "drawn": None, "won": set(), "digits": 0}
    said = host.contest.announcement()
    lineage, won = (
        decided(with_gains(host.contest, cast(IdeaLineage, stored)), said),
        {who["number"] for who in said.get("winners", ())},
    )
    who = names(host.contest, lineage)
    arrived = sorted(lineage["nodes"], key=lambda node: node["number"])
    digits = digits_of(said) if said.get("rows") else board_digits(host.contest)
    drawn = drawing(arrived, who, won)
    return {"hidden": hidden, "lineage": lineage, "who": who, "drawn": drawn, "won": won, "digits": digits}


def with_gains(contest: Contest, lineage: IdeaLineage) -> IdeaLineage:
    """With the gains of the board as it is now, as on all other pages; of a void entry those of its measured runs."""
    numbers = [node["number"] for node in lineage["nodes"]]
    with contest.database.read() as connection:
        rows = {row["number"]: row for row in board_of(connection, contest, 0, numbers)}
        void = void_gains(connection, numbers)
    nodes: list[LineageEntry] = []
    for node in lineage["nodes"]:
        row, gain = rows.get(node["number"]), void.get(node["number"])
        figures = {key: row[key] if row else None for key in ("gain", "low", "high")} | {"n": row["n"] if row else 0}
        if gain:
            figures |= {key: gain[key] for key in ("gain", "low", "high", "n")}
        nodes.append({**node, **figures, **({"void": True} if node["number"] in void else {})})  # type: ignore[typeddict-item]
    return {**lineage, "nodes": nodes}


def decided(lineage: IdeaLineage, said: Announcement) -> IdeaLineage:
    """After the decision: winners first, then the others that took part, each with its result and the gain of the runs
    that decided; then the rest, by the board's gains. The stored lineage has the board's gains and order of arrival."""
    rows = {row["number"]: row for row in said.get("rows", ()) if row["role"] == "program"}
    if not rows:
        return lineage
    won = {who["number"] for who in said["winners"]}
    nodes: list[LineageEntry] = []
    for node in lineage["nodes"]:
        row = rows.get(node["number"])
        new = {key: row[key] for key in ("gain", "low", "high", "n")} if row else {}
        nodes.append({**node, **new, "result": race_result(row, said) or outcome(row["entry_id"], said) if row else ""})  # type: ignore[typeddict-item]
    nodes.sort(key=lambda node: (node["number"] not in won, not node.get("result"), -(node["gain"] or -math.inf)))
    return {**lineage, "nodes": nodes}


def names(contest: Contest, lineage: IdeaLineage) -> dict[int, EntryLabel]:
    """number → entry and entrant, for all entries on the page."""
    wanted = (
        {node["number"] for node in lineage["nodes"]}
        | {one for idea in lineage["ideas"] for one in (idea["first"], *idea["takers"], *idea["changers"])}
        | {edge["from"] for node in lineage["nodes"] for edge in node["edges"]}
    )
    wanted |= {node["source"] for node in lineage["nodes"] if node["source"]}
    with contest.database.read() as connection:
        rows = connection.scalars(select(ContestEntry).where(ContestEntry.number.in_(wanted))).all()
    return {
        row.number: {
            "entry_id": row.entry_id,
            "entrant": row.entrant,
            "name": row.name,
            "label": entry_label(row.entrant, row.name),
        }
        for row in rows
    }


@dataclass(frozen=True)
class LineageNode:
    """One entry in the plot. ``x`` None: no run of it has been measured."""

    number: int
    y: float
    x: float | None
    low: float | None
    high: float | None
    label: str
    decided: bool  # whether it took part in the decision; before it, True
    won: bool
    void: bool


@dataclass(frozen=True)
class Drawing:
    """Entries from top to bottom by arrival, left to right by verified gain; arcs for directives taken over."""

    height: float
    width: float
    names: float  # left end of the names
    zero: float
    ticks: tuple[tuple[float, str], ...]  # of the axis: x, gain
    nodes: tuple[LineageNode, ...]
    arcs: tuple[tuple[str, int, str], ...]  # path, width, title


def drawing(nodes: Sequence[LineageEntry], who: Mapping[int, EntryLabel], won: Collection[int] = ()) -> Drawing:
    values = [value for node in nodes for value in (node["low"], node["high"], node["gain"]) if value is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    digits = decimals((high - low) / 20)

    def x(value: float) -> float:
        return round(LEFT + 10 + (WIDTH - LEFT - 20 - FIGURES) * (value - low) / ((high - low) or 1.0), 1)

    def across(value: float | None) -> float | None:
        return None if value is None else x(value)

    step = tick_step((high - low) or 1.0, 4)
    multiples = range(math.ceil(low / step), math.floor(high / step) + 1)
    ticks = tuple((x(step * k), number(step * k, decimals(step, 1))) for k in multiples)

    heights = {node["number"]: TOP + ROW * index for index, node in enumerate(nodes)}
    shown = tuple(
        LineageNode(
            node["number"],
            heights[node["number"]],
            across(node["gain"]),
            across(node["low"]),
            across(node["high"]),
            number(node["gain"], digits, True),
            bool(node.get("result", True)),
            node["number"] in won,
            bool(node.get("void")),
        )
        for node in nodes
    )
    arcs = tuple(
        arc(heights[first], heights[node["number"]], edge, who[first]["label"], who[node["number"]]["label"])
        for node in nodes
        for edge in node["edges"]
        if (first := edge["from"]) in heights
    )
    return Drawing(TOP + ROW * len(nodes) + AXIS, WIDTH, LEFT - NAMES + 6, x(0.0), ticks, shown, arcs)


def arc(start: float, end: float, edge: LineageEdge, source: str, to: str) -> tuple[str, int, str]:
    """An arc left of the names, from the earlier entry to the one that took directives over."""
    bend = min(18 + 0.35 * (end - start), MOST_BEND)
    x = LEFT - NAMES
    path = f"M{x} {start}C{x - bend:.0f} {start} {x - bend:.0f} {end} {x} {end}"
    said = [f"{count} {how}" for how, count in (("shared", edge["taken"]), ("changed", edge["changed"])) if count]
    return path, min(1 + (edge["taken"] + edge["changed"]) // 2, 6), f"{source} to {to}: {', '.join(said)}"
