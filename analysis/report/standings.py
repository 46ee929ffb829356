"""Part 2: the standings, a dot and an interval for each arm, ties shaded, the claimed as a hollow dot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import count, duration, number, places, ranks, short, span, typical

TITLES = {"race": "the opening race", "confirmation": "the confirmation", "generation": "generation"}
MEANING = {
    "champion": "champion, verified gain with its 95% interval",
    "program": "program, verified gain with its 95% interval",
    "control": "control: stock, or its A/A twin",
    "without": "the champion without its ideas",
}
MARKS = {"champion": "champion", "control": "control", "a/a": "control", "without-ideas": "without"}


def section(facts: Facts) -> Section:
    figures = tuple(figure(facts, match_id) for match_id in _order(facts))
    lead = (
        "Gain is how much better than the untouched script the final script of a run is, trained again from scratch on "
        "seeds and data that no researcher saw. An arm is one entry of a program in a match."
    )
    left = sum(1 for row in facts.matches.rows if row["ended"]) - len(figures)
    more = {"note": f"{left} earlier matches are left out; the query has them all."} if left > 0 else {}
    return Section("standings", "Standings", lead if figures else "No match has a verified result.", figures, more=more)


def figure(facts: Facts, match_id: str) -> Figure:
    rows = [row for row in facts.of_match(match_id) if row["gain"] is not None]
    first = rows[0]
    digits = places(typical(row["se"] for row in rows))
    spread = aa_spread(rows)
    noise = f" The two arms of one program (A/A) came out {number(spread, digits)} apart." if spread is not None else ""
    return Figure(
        name=f"standings-{short(match_id, 13)}",
        kind="standings",
        title=f"{title(first)}, in {facts.unit}",
        caption="Further right is better. Ranks that overlap are ties: Welch's test for every pair, 5% over the whole "
        f"match (Holm).{noise}",
        data={"unit": facts.unit, "digits": digits, "rows": [point(row) for row in rows]},
        table=table(rows, digits, facts.unit),
        answers=(facts.standings,),
        legend=legend(rows),
        open=match_id == facts.deciding.get("match_id"),
    )


def point(row: dict[str, Any]) -> dict[str, Any]:
    """What the drawing needs of an arm."""
    kept = ("gain", "low", "high", "claimed", "n", "role")
    return {key: row[key] for key in kept} | {
        "id": row["arm_id"], "name": label(row), "ranks": ranks(row["rank_low"], row["rank_high"]),
        "tie": row["rank_low"] == 1,
    }  # fmt: skip


def table(rows: Sequence[dict[str, Any]], digits: int, unit: str) -> Table:
    titles = (
        "rank",
        "program",
        "role",
        f">gain, {unit}",
        "95% interval",
        ">claimed",
        ">runs",
        ">words",
        ">charged",
        "trust",
    )
    return Table.of(titles, [
        (ranks(row["rank_low"], row["rank_high"]), row["name"] or short(row["program_id"]), row["role"] or "",
         number(row["gain"], digits), span(row["low"], row["high"], digits), number(row["claimed"], digits),
         count(row["n"]), count(row["words"]), duration(row["device_seconds_charged"]), row["trust"] or "unknown")
        for row in rows
    ])  # fmt: skip


def legend(rows: Sequence[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The marks that this match has, and what they mean."""
    there = {MARKS.get(row["role"] or "", "program") for row in rows}
    claimed = (
        [("claimed", "what the runs themselves claimed")] if any(row["claimed"] is not None for row in rows) else []
    )
    return (
        *((mark, meaning) for mark, meaning in MEANING.items() if mark in there),
        *claimed,
        ("tie", "may be the best: no test tells it from the first"),
    )


def aa_spread(rows: Sequence[dict[str, Any]]) -> float | None:
    """Largest difference between the arms of one program that plays twice."""
    twins = [row for row in rows if row["role"] == "a/a"]
    apart = [
        abs(row["gain"] - other["gain"])
        for row in twins
        for other in rows
        if other["program_id"] == row["program_id"] and other is not row
    ]
    return max(apart, default=None)


def label(row: dict[str, Any]) -> str:
    name = str(row["name"] or short(row["program_id"]))
    return f"{name} (A/A)" if row["role"] == "a/a" else name


def title(row: dict[str, Any]) -> str:
    known = TITLES.get(row["purpose"] or "", row["label"] or "match")
    text = f"{known} {row['generation']}" if row["purpose"] == "generation" else str(known)
    return text[:1].upper() + text[1:]


def _order(facts: Facts) -> list[str]:
    """The deciding match, then the others, the latest first."""
    found = dict.fromkeys(row["match_id"] for row in facts.standings.rows if row["gain"] is not None)
    first = facts.deciding.get("match_id")
    return sorted(found, key=lambda match_id: match_id != first)
