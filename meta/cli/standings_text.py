"""What is said beside the standings of a match: names of arms, who leads, and the remarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from analysis.verdict.decision import ArmGain, twins
from analysis.verdict.standings import TESTS, UNDECIDED
from analysis.wording import TWO_ARMS, estimate, few, many, plain_text
from meta.cli import resolve
from meta.cli.options import duration


class StandingLine(TypedDict):
    """A row of the view `standings`, or the best of an arm's runs, with the columns in use."""

    utilization: float | None
    label: str | None  # of the match
    match_id: str
    arm_id: str
    program_id: str
    name: str | None
    role: str | None
    task: str | None
    stream: str | None
    purpose: str | None
    generation: int | None
    unit: str | None
    n: int
    gain: float | None
    se: float | None
    low: float | None
    high: float | None
    claimed: float | None
    rank_low: int | None
    rank_high: int | None
    words: int | None
    trust: str | None
    device_seconds_charged: float | None


MOST_NAMED = 6  # arms that are shown to be worse
# An arm's role and name together, for a table without room for both.
ROLES = {
    "control": "{} (control)",
    **TWO_ARMS,
    "without-ideas": "without its ideas",
    "start": "{} (start)",
    "learnt": "{} (not in the search)",
    "own": "your program",
    "one-line": "one-line (control)",
}


def name_of(r: StandingLine) -> str:
    return named(r["name"] or resolve.short(r["program_id"]), r["role"])


def named(name: str, role: str | None) -> str:
    """An arm by its program and its role."""
    if role in ROLES:
        return ROLES[role].format(name)
    # the role comes first: a narrow terminal shortens names, and champion and variant may share their beginning
    return name if role in (None, "", "program", name) else f"{role} {name}"


def remarks(rows: Sequence[StandingLine]) -> list[str]:
    """The difference of stock's two arms, and the cost."""
    out, aa = [], twins(map(arm_gain, rows))
    if aa is not None:
        out.append(plain_text(f"Stock minus stock (A/A): {estimate(aa.difference, aa.low, aa.high, aa.unit)}."))
    spent = sum(r["device_seconds_charged"] or 0 for r in rows)
    runs = sum(r["n"] for r in rows)
    out.append(f"These rows: {many(runs, 'run')}, {duration(spent)} of device time charged to the runs.")
    return out


def leading(rows: Sequence[StandingLine]) -> str:
    """Which program leads a match, or that none is shown to; empty for less than two ranked programs."""
    tested = [r for r in rows if r["rank_low"] and r["gain"] is not None]
    best, worse = ([r for r in tested if (r["rank_low"] == 1) == first] for first in (True, False))
    programs = [r for r in tested if r["role"] != "a/a"]
    if len(programs) < 2 or all(r["role"] == "a/a" for r in best):
        return ""
    if len(best) == 1:
        more = "is better than each of the others" if best[0]["rank_high"] == 1 else "alone is behind no other"
        return f"{name_of(best[0])} {more} ({TESTS})."
    if not worse:
        return UNDECIDED
    text = f"Not shown to be worse than another: {', '.join(map(name_of, best))}. "
    text += f"Shown to be worse: {few([name_of(r) for r in worse], 'arm', MOST_NAMED)} ({TESTS})."
    most = max(r["gain"] or 0.0 for r in worse)
    noisy = [name_of(r) for r in best if (r["gain"] or 0.0) < most]
    why = f" Too few or too noisy runs to show that a lower mean is worse: {', '.join(noisy)}."
    return text + (why if noisy else "")


def arm_gain(r: StandingLine) -> ArmGain:
    return ArmGain(r["program_id"], r["role"], r.get("task"), r.get("unit"), r["n"], r["gain"], r.get("se"))
