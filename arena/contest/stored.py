"""Rows of a board, and what the facts of contest.sqlite contain, by the module that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict


class NamedEntry(TypedDict):
    entry_id: str
    number: int
    entrant: str
    name: str


class MeasuredRow(NamedEntry):
    """An arm with a verified gain: a row of the board, or of a decision without the last two columns."""

    arm_id: str
    program_id: str
    n: int
    gain: float
    se: float | None
    low: float | None
    high: float | None
    rank_low: int
    rank_high: int
    claimed: float | None
    words: int
    kept: int  # edits that its runs kept, in all
    role: str
    state: str  # of its entry
    trust: str | None
    failed_seeds: float | None
    device_seconds_charged: float | None
    tokens: float | None
    usd: float | None
    copy_of: NotRequired[str]  # which earlier entry it behaves like; empty while texts are hidden
    race: NotRequired[str]  # while it goes on: how the entry stands in it, or why it is not in it


STOCK = {"control": "stock (control)", "a/a": "stock (A/A)"}  # by role, as `metaloop standings`; `stock`: both arms


def arm_label(row: MeasuredRow) -> str:
    """The entry of an arm as it is named everywhere, or which arm of stock it is."""
    return STOCK.get(row["role"]) or entry_label(row["entrant"], row["name"])


def entry_label(entrant: str, name: str) -> str:
    """The name of an entry on every page and in every message: `Ada: bold`, or `Ada 2` where its text has no name.

    It always begins with the entrant, whose name has no colon, so no entry has the label of another person's."""
    is_numbered = name.isdecimal() and not entrant[-1:].isdecimal()
    return f"{entrant} {name}" if is_numbered else f"{entrant}: {name}"


def own_result(row: Mapping[str, Any]) -> str:
    """What became of an entry (`EntryRow`), for its entrant."""
    void = row["reason"] if row["state"] == "void" else ""
    return str(void or row["outcome"] or row["race"] or row["copy_of"] or row["reason"])


class StateFact(TypedDict, total=False):
    """`contest`: what has happened to it; times in ISO 8601."""

    close_asked: str
    early: str  # why the host closed it early
    deciding: str
    decided: str
    leaders: list[int]
    left_out: dict[str, str]  # by number: why a leader was given up


class LedgerHead(TypedDict):
    """`contest`: the segment of the ledger that contains the heads of all others, and its hash, which commits to every
    record before ``at`` (ISO 8601). The fact `ledger_head` is the latest."""

    segment: str
    hash: str
    at: str


class LeftOutEntry(NamedEntry):
    why: str


class RaceFigures(TypedDict):
    """`race`: ``looks``: runs at each look; ``looked``: at the last one taken; ``level``: one-sided, of each test;
    ``runs``: of all, stock included; ``equal_runs``: had all gone on to the last look."""

    looks: list[int]
    looked: int
    level: float
    leaders: int
    runs: int
    equal_runs: int


class RaceLoss(TypedDict):
    """`race`: why an entry did not win. ``below``: the entry, or stock's, that it was significantly below, by ``by``
    after ``runs`` runs; None: it stayed to the end and was ``by`` above stock, which is not significant."""

    number: int
    below: int | None
    by: float
    runs: int
    above_stock: bool


class RacePlace(NamedEntry):
    """`decision`: how a leader stands in the race while it goes on, in words."""

    said: str


class SeparatingPrice(TypedDict):
    """`decision`: what would separate the first two of a tied group. ``runs``: of each, on every task."""

    runs: int | None  # None: their gains do not differ
    device_seconds: float | None


class Announcement(TypedDict, total=False):
    """`decision`: empty before it; without the figures if no entry took part."""

    outcome: str
    winners: list[NamedEntry]
    headline: str
    best: NamedEntry
    gain: float
    low: float | None
    high: float | None
    n: int
    over_stock: float
    over_low: float | None
    over_high: float | None
    race: RaceFigures
    lost: list[RaceLoss]
    separate: SeparatingPrice  # of a win that is shared
    decided_at: str
    unit: str
    aa_spread: float | None
    aa_difference: str  # of the confirming runs, in a sentence
    secret: str
    secret_hash: str
    ledger_head: LedgerHead  # before it: of all that it is computed from
    rows: list[MeasuredRow]
    left_out: list[LeftOutEntry]
    not_racing: list[LeftOutEntry]  # every other entry
