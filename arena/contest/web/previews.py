"""What the preview of a link to a page says."""

from __future__ import annotations

from analysis.wording import many, number, ranks
from arena.contest.ranking.view_types import BoardView, ContestView, EntryView
from arena.contest.stored import STOCK, arm_label, entry_label
from arena.contest.tables import state_label
from arena.serving.clock import shown

CONTROLS = 2  # stock's two arms


def board_preview(contest: ContestView, board: BoardView) -> str:
    """The decision; before it what the contest is, who leads and until when."""
    if said := board["announcement"]:
        winners = [who["number"] for who in said["winners"]]
        void = [entry_label(act["entrant"], act["name"]) for act in board["since"] if act["number"] in winners]
        return said["headline"] + "".join(f"; since then the host has declared {name} void" for name in void)
    entries = sum(count for state, count in contest["states"].items() if state != "void") - CONTROLS
    lines = [
        f"A contest in writing programs for an automatic researcher on {contest['task']}: {many(entries, 'entry')}"
    ]
    first = next((row for row in board["rows"] if row["role"] == "program"), None)
    if first is not None and board["skip"] == 0:
        gain = number(first["gain"], board["digits"])
        lines.append(f"{arm_label(first)} has the highest average gain so far, {gain} {board['unit']}")
    lines.append(
        f"Entries are accepted from {shown(contest['opens'])}"
        if contest["phase"] == "upcoming"
        else f"Entries are accepted until {shown(contest['closes'])}"
        if contest["phase"] == "open"
        else "Entries are closed, and the winner is still to be announced"
    )
    return ". ".join(lines)


def entry_preview(contest: ContestView, entry: EntryView) -> str:
    """What became of the entry, or how it stands."""
    label, row = STOCK.get(entry["role"]) or entry_label(entry["entrant"], entry["name"]), entry["standing"]
    if entry["state"] in ("void", "failed"):
        won, declared = (
            f"{entry['headline']}. " if entry["headline"] else "",
            entry["reason"].startswith("declared void"),
        )
        how = "was " if declared else "is void: " if entry["state"] == "void" else "failed: "
        return f"{won}{label} {how}{entry['reason']}"
    if entry["headline"] or entry["outcome"] or entry["race"]:
        return entry["headline"] or f"{label}: {entry['outcome'] or entry['race']}"
    if row is None:
        return (
            f"{label}, an entry of the contest {contest['title']}: {state_label(entry['state'])}, no measured run yet"
        )
    gain = f"a gain of {number(row['gain'], entry['board_digits'])} {entry['unit']} on average"
    rank = f"rank {ranks(row['rank_low'], row['rank_high'])} of {entry['arms']}"
    return f"{label}: {gain} over {many(row['n'], 'run')}, {rank}"
