"""``metaloop lineage``: the tree of programs, with their gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from analysis.statistics import mean_together
from analysis.wording import many, plain_number
from meta.cli import resolve, trust
from meta.cli.flags import AnyStudy
from meta.cli.options import verb
from meta.cli.output import Column, Output, Row
from programs.shelf import starter

if TYPE_CHECKING:
    from arena.contest.listing import ListedEntry

QUERY = """
WITH named AS (SELECT program_id FROM champions ORDER BY named_at DESC LIMIT 1)
SELECT p.program_id, p.name, p.generation, p.operator, p.parent_ids, p.words, m.gain, m.se, coalesce(m.n, 0) AS n,
    p.program_id IN (SELECT program_id FROM named) AS champion, FALSE AS void,
    (SELECT u.model FROM mutations AS u WHERE u.child_id = p.program_id AND u.accepted LIMIT 1) AS model,
    (SELECT u.reason FROM mutations AS u WHERE u.child_id = p.program_id AND u.accepted LIMIT 1) AS reason
FROM programs AS p LEFT JOIN program_scores(?) AS m USING (program_id)
WHERE p.operator IS DISTINCT FROM 'ablation'  -- variants of one program; metaloop credit shows their effects
ORDER BY p.generation, m.gain DESC NULLS LAST, p.program_id
"""
REFUSED = """
SELECT coalesce(model, 'offline') AS by, count(*) AS proposals, count(*) FILTER (NOT accepted) AS refused,
    CASE WHEN model IS NOT NULL THEN sum(tokens)::BIGINT END AS tokens
FROM mutations GROUP BY model ORDER BY model NULLS FIRST
"""
TRUSTS = "SELECT DISTINCT trust FROM runs WHERE score_stream = 'selection'"
COLUMNS = (
    Column("tree", "program", flex=True, style="bold"),
    Column("operator", "by", flex=True),
    Column("gain", right=True, style="green", show=lambda v: plain_number(v, 4, sign=True)),
    Column("se", "se", right=True, show=lambda v: plain_number(v, 4)),
    Column("n", right=True),
    Column("words", right=True),
    Column("program_id", "id", style="dim", show=resolve.short),
    Column("generation", person=False),
    Column("parent_ids", person=False),
    Column("champion", person=False),
    Column("model", person=False),
    Column("reason", person=False),
)


class LineageRow(TypedDict):
    """A program, with the columns in use."""

    program_id: str
    name: str | None
    parent_ids: list[str] | None
    generation: int | None
    gain: float | None
    se: float | None
    n: int
    champion: bool
    void: bool  # of an entry of a contest


class ProposalCount(TypedDict):
    """The proposals of a model, or of the offline operators."""

    by: str
    proposals: int
    refused: int
    tokens: int | None


@verb(
    ("metaloop lineage studies/NAME", "the tree, best programs first"),
    ("metaloop lineage studies/NAME --json", "programs with their parents"),
)
def lineage(out: Output, study: AnyStudy) -> None:
    """Show the tree of programs: the parents of each, the operator (rule or model) that wrote
    it, and its mean measured gain in the search (not in the confirmation). A program with
    two parents is listed under the first; below the tree, a line names the other. A
    contest's entries have the parents that their entrants named and, if they ran in the
    deciding race, the gain there."""
    from arena.contest.listing import listed_entries

    folder = resolve.study_folder(study, out)
    with resolve.connect(folder, ["scales"]) as con:
        scales = resolve.fetch(con, "SELECT * FROM scales")
        programs = resolve.fetch_as(con, LineageRow, QUERY, [starter("stock").program_id])
        proposals = resolve.fetch_as(con, ProposalCount, REFUSED)
        trust.note(out, con, resolve.shown(folder), TRUSTS)
    entries = listed_entries(folder)
    if entries:
        programs = as_entries(programs, entries, on_one_task=len(scales) <= 1)
    drawn = list(tree(programs))
    others = other_parents(programs)
    with_others = {} if out.mode == "person" else others  # a terminal shortens a name, so it has a line below for them
    rows = [{"tree": prefix + _title(p, with_others), **p} for prefix, p in drawn]
    out.rows(
        [p for _, p in drawn] if out.mode == "json" else rows,
        (*COLUMNS, Column("void", person=False)) if entries else COLUMNS,
        empty="no programs yet",
        extra={"study": str(folder)},
    )
    if out.mode == "person" and any(p["champion"] for p in programs):
        out.note("* the champion")
    for p in programs if out.mode == "person" else ():
        if p["program_id"] in others:
            out.note(f"{_name(p)} has a second parent: {others[p['program_id']]}")
    if len(scales) > 1:
        out.note(said_of(scales))
    elif out.mode == "person":
        unit = f", in {scales[0]['unit']}" if scales else ""
        where = f"of the search{unit}; the confirmation is in metaloop standings"
        if entries:
            raced = "of the race, of other entries those " if any(entry.raced for entry in entries) else ""
            where = f"{raced}on the board{unit}; stock: both its arms"
        out.note(f"gain: mean of the n runs {where}")
    for line in proposal_lines(proposals):
        out.note(line)
    if any(row["refused"] for row in proposals):
        query = "SELECT operator, model, reason FROM mutations WHERE NOT accepted"
        out.note(f'reasons: metaloop sql {resolve.typed(folder)} "{query}"')


def as_entries(
    programs: Sequence[LineageRow], entries: Sequence[ListedEntry], *, on_one_task: bool
) -> list[LineageRow]:
    """The programs of a contest as entries: their names on the board, the parents that entrants named, and, as on the
    page of the lineage, the gain of the runs that decided (of several tasks the scores differ). A text that was entered
    several times is its first entry, and void if all of them are."""
    of_program: dict[str, list[ListedEntry]] = {}
    for entry in entries:
        of_program.setdefault(entry.program_id, []).append(entry)
    programs_by_number = {entry.number: entry.program_id for entry in entries}
    depth: dict[str, int] = {}
    parents: dict[str, list[str]] = {}
    for program, (first, *_) in of_program.items():  # in order of arrival, so a parent comes before
        above = programs_by_number.get(first.parent or 0)
        parents[program] = [above] if above and above != program else []
        depth[program] = 1 + depth[above] if above in parents[program] else 0
    out: list[LineageRow] = []
    for row in programs:
        own = of_program.get(row["program_id"])
        if own is None:
            out.append(row)
            continue
        at, void = row["program_id"], all(entry.void for entry in own)
        name = own[0].label if own[0].role == "program" else row["name"]
        row = {**row, "name": name, "parent_ids": parents[at], "generation": depth[at], "void": void}
        if on_one_task and (raced := [entry.raced for entry in own if entry.raced]):
            mean = mean_together(raced)
            row["gain"], row["se"], row["n"] = mean.mean, mean.se, mean.n
        out.append(row)
    return sorted(out, key=lambda row: (row["gain"] is None, -(row["gain"] or 0.0)))


def said_of(scales: Sequence[Row]) -> str:
    """What the gains are over, and what divides them."""
    by_scale = {row["family"] or row["task"]: row for row in scales}
    sizes = ", ".join(f"{row['size']:.4g} {row['unit']} on {name}" for name, row in by_scale.items())
    if any(row["family"] for row in scales):
        return f"gains are 1 + the mean lead over stock on the same tasks, divided by the family's scale: {sizes}"
    return f"gains are averages over {len(scales)} tasks, each divided by the task's scale: {sizes}"


def proposal_lines(proposals: Sequence[ProposalCount]) -> Iterator[str]:
    """How many children each operator or model proposed, and how many were rejected before any device time."""
    for row in proposals:
        tokens = "" if row["tokens"] is None else f", {row['tokens']:,} tokens"
        by = "offline operators" if row["by"] == "offline" else row["by"]
        yield f"{by} proposed {many(row['proposals'], 'program')}, {row['refused']} rejected before running{tokens}"


def tree(programs: Sequence[LineageRow]) -> Iterator[tuple[str, LineageRow]]:
    """Every program once, depth first, with the branch lines to draw before it."""
    known = {p["program_id"] for p in programs}
    children: dict[str | None, list[LineageRow]] = {}
    for p in programs:
        first = next((i for i in p["parent_ids"] or () if i in known and i != p["program_id"]), None)
        children.setdefault(first, []).append(p)
    yield from _branch(children, None, "")


def _branch(
    children: Mapping[str | None, list[LineageRow]], parent: str | None, indent: str
) -> Iterator[tuple[str, LineageRow]]:
    own = children.get(parent, [])
    for index, p in enumerate(own):
        last = index == len(own) - 1
        here = "" if parent is None else ("└─ " if last else "├─ ")
        yield indent + here, p
        further = "" if parent is None else ("   " if last else "│  ")
        yield from _branch(children, p["program_id"], indent + further)


def other_parents(programs: Sequence[LineageRow]) -> dict[str, str]:
    """Program → the names of its parents after the first, where it has several."""
    names = {p["program_id"]: _name(p) for p in programs}
    further = {p["program_id"]: (p["parent_ids"] or [])[1:] for p in programs}
    return {i: ", ".join(names.get(one, resolve.short(one)) for one in ids) for i, ids in further.items() if ids}


def _name(p: LineageRow) -> str:
    return p["name"] or resolve.short(p["program_id"])


def _title(p: LineageRow, others: Mapping[str, str]) -> str:
    crossed = f" x {others[p['program_id']]}" if p["program_id"] in others else ""
    return f"{'* ' * p['champion']}{_name(p)}{crossed}{' (void)' * p['void']}"
