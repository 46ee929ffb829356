"""The pages of a project and its llms.txt. What strangers wrote is escaped everywhere."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response
from sqlalchemy import select

from analysis import wording
from analysis.report.axis import Axis
from analysis.wording import many, number, tick_step
from arena.home.chain import Trailers, Voided
from arena.home.project import Project
from arena.home.results import BlockSummary, ProjectState
from arena.home.tables import Pair, ProposalRow
from arena.serving.client import is_private
from arena.serving.headers import tagged
from arena.serving.static_files import static_routes
from programs.common.templates import jinja_environment
from programs.common.text import cell

if TYPE_CHECKING:
    from jinja2 import Environment


WIDTH, LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 720, 56, 14, 12, 30, 250
MARKDOWN = "text/markdown; charset=utf-8"
MOST_DIFF = 60_000


@dataclass(frozen=True)
class BlockDot:
    """A block in the picture; lengths in units of its viewBox."""

    block: int
    x: float
    y: float
    low: float
    high: float
    void: bool
    title: str


class Change(NamedTuple):
    """What a block's commit says: its trailers (block 0 has none), and the difference to the main before it."""

    entry: Trailers | Voided | None
    diff: str


@dataclass(frozen=True)
class Picture:
    """The gain of main over block 0, block by block."""

    dots: tuple[BlockDot, ...]
    path: str
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]
    caption: str


def picture(blocks: Sequence[BlockSummary], unit: str) -> Picture:
    """``blocks`` as `results.blocks` returns them."""
    heights = heights_of(blocks)
    last = max(1, blocks[-1].block)
    x = Axis(-0.3, last + 0.3, LEFT, WIDTH - RIGHT)
    ends = (heights[b.block] + e for b in blocks for e in (b.low - b.gain, b.high - b.gain))
    y = Axis.over((*ends, 1e-9), HEIGHT - BOTTOM, TOP)

    dots = tuple(
        BlockDot(
            b.block,
            x(b.block),
            y(heights[b.block]),
            y(heights[b.block] + b.low - b.gain),
            y(heights[b.block] + b.high - b.gain),
            bool(b.void),
            f"block {b.block} by {b.by}: {number(b.gain, 4, True)} {unit}" + (", void" if b.void else ""),
        )
        for b in blocks
    )
    path = f"M{dots[0].x} {dots[0].y}" + "".join(f"H{x(dot.block - 0.5)}V{dot.y}H{dot.x}" for dot in dots[1:])
    path += f"H{WIDTH - RIGHT}"
    apart = max(1, round(tick_step(last, 8)))
    standing = [b for b in blocks if b.proposal and not b.void]
    caption = (
        f"Gain of main over the untouched baseline, in {unit}: {number(heights[blocks[-1].block], 4, True)} after "
        f"{many(len(standing), 'block')}. Lines: 95% interval of each block's own gain."
        + (" Hollow: void." if any(b.void for b in blocks) else "")
    )
    return Picture(
        dots,
        path,
        y.ticks(4),
        tuple((x(n), str(n)) for n in range(0, last + 1, apart)),
        caption,
    )


def heights_of(blocks: Sequence[BlockSummary]) -> dict[int, float]:
    """The gain of main over block 0 after each block. One that restores an earlier main has its height."""
    heights: dict[int, float] = {}
    now = 0.0
    is_void = {b.block: bool(b.void) for b in blocks}
    for b in blocks:
        if b.proposal:
            now += b.gain
        elif b.block:
            now = next(heights[n] for n in sorted(heights, reverse=True) if not is_void[n])
        heights[b.block] = now
    return heights


def page_routes(project: Project, shown: Callable[[], ProjectState]) -> APIRouter:
    """The pages; nothing that they do changes the project. ``shown``: its state, which pages share."""
    routes = APIRouter(include_in_schema=False)
    change_of = cache(partial(_change, project))  # each starts git several times, and a block never changes

    @routes.get("/")
    def index(request: Request) -> Response:
        return tagged(request, _render("index.html.j2", **_index(project, request, shown())).encode())

    @routes.get("/llms.txt")
    def llms(request: Request) -> Response:
        return Response(_render("llms.txt.j2", **_index(project, request, shown())), media_type=MARKDOWN)

    @routes.get("/block/{number}")
    def block(number: int, request: Request) -> Response:
        row = next((row for row in shown().blocks if row.block == number), None)
        if row is None:
            raise HTTPException(404, detail="no such block")
        page = _render("block.html.j2", **_block(project, request, row, change_of(row.commit)))
        return tagged(request, page.encode())

    static_routes(routes)
    return routes


def _common(project: Project, request: Request) -> dict[str, Any]:
    return {
        "title": str(project.database.fact("project")["title"]),
        "project": project.project_id,
        "task": project.task,
        "base": (base := str(request.base_url).rstrip("/")),
        "joinable": is_private(base),
        "names": {program_id: name for program_id, (name, _) in project.programs.items()},
    }


def _index(project: Project, request: Request, state: ProjectState) -> dict[str, Any]:
    unit = project.task.unit
    searched, verified = state.searched_seconds, state.verified_seconds
    standing = [row for row in state.blocks if row.proposal and not row.void]
    gain = heights_of(state.blocks)[state.blocks[-1].block]
    return {
        **_common(project, request),
        "state": state,
        "picture": picture(state.blocks, unit),
        "intro": (
            f"{many(state.volunteers, 'volunteer')} search for a better {', '.join(project.task.editable)}; each "
            "improvement is trained again here before it counts. "
            f"{many(len(standing), 'block')} so far: {number(gain, 4, True)} {unit} over the baseline, from "
            f"{wording.duration(searched)} of search and {wording.duration(verified)} of verification."
        ),
        "proposals_sentence": proposals_sentence(state.proposals, state.runs_out),
    }


def proposals_sentence(counts: dict[str, int], runs_out: int) -> str:
    """How many proposals are in which state."""
    words = {
        "verifying": "being verified",
        "waiting": "waiting",
        "merged": "merged",
        "hopeless": "without a gain that could be shown",
        "refused": "refused by a check",
        "stale": "outdated by a later block",
        "void": "void",
    }
    parts = [f"{counts[state]} {text}" for state, text in words.items() if counts.get(state)]
    return f"{many(runs_out, 'run')} under way. Proposals: {', '.join(parts) or 'none so far'}."


def _block(project: Project, request: Request, row: BlockSummary, change: Change) -> dict[str, Any]:
    """What a block's page shows. The figures of its test are those of its commit: the proposal of a void block may have
    been tested again since."""
    test, pairs = change.entry, list[Pair]()
    sentence = "It restores the main before a block that is void." if row.block else "The untouched baseline."
    found: dict[str, Any] = {}
    if isinstance(test, Trailers):
        with project.database.read() as connection:
            proposal = connection.get_one(ProposalRow, test.proposal)
            own = (Pair.proposal_id == test.proposal) & Pair.split.in_(test.splits)
            pairs = list(connection.scalars(select(Pair).where(own).order_by(Pair.number)))
            found = {"claimed": proposal.claimed, "from_block": proposal.lease.base}
        found |= {"test": test, "needed": -math.log(test.level)}
        sentence = f"{row.by} found it. This host verified it on {many(len(pairs), 'pair')} of fresh trainings."
    return {
        **_common(project, request),
        **found,
        "intro": f"One block of main, merged {_when(row.merged_at)} UTC.",
        "row": row,
        "pairs": pairs,
        "seconds": sum(pair.device_seconds for pair in pairs),
        "parent": test.base if test else "",
        "diff": change.diff,
        "sentence": sentence,
    }


def _change(project: Project, commit: str) -> Change:
    entry = project.chain.entry(commit)
    old, new = project.chain.files(entry.base) if entry else {}, project.chain.files(commit)
    lines: list[str] = []
    for name in sorted({*old, *new}):
        sides = (old.get(name, "").splitlines(), new.get(name, "").splitlines())
        lines += difflib.unified_diff(*sides, f"a/{name}", f"b/{name}", lineterm="")
    return Change(entry, "\n".join(lines)[:MOST_DIFF] or "nothing")


def _when(at: str) -> str:
    return at[:16].replace("T", " ")


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    made = jinja_environment(folder, escaped=lambda name: bool(name) and not str(name).endswith(".txt.j2"))
    made.filters |= {
        "number": number,
        "span": wording.span,
        "duration": wording.duration,
        "brief": wording.brief,
        "cell": cell,
        "when": _when,
    }
    return made
