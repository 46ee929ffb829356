"""What is said beside the standings of a match: names of arms, who leads, and the remarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypedDict

from analysis import decision_text
from analysis.decision import ArmGain, Decision, twins
from analysis.own_share import STUDY
from analysis.ranks import ALPHA
from analysis.ranks_text import PairedArm, tests, undecided
from analysis.wording import TWO_ARMS, few, many, plain_text
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


MOST_MORE = 1_000  # runs; a larger number is only reported as more than this
MOST_NAMED = 6  # arms that are shown to be worse
POWER = 0.84  # of the normal distribution: 80%
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


def remarks(rows: Sequence[StandingLine], decision: Decision | None = None, study: str = STUDY) -> list[str]:
    """The caveats of ``decision`` where it was made from this match, else the match's A/A difference and the number of
    runs needed to separate the first from the next that is not shown to be worse; then the cost."""
    out = [plain_text(text) for text in decision_text.remarks(decision, study)] if decision else []
    aa = None if decision else twins(map(arm_gain, rows))
    if aa is not None:
        out.append(plain_text(decision_text.aa_text(aa)))
    more = None if decision or any(r["role"] == "champion" for r in rows) else runs_to_separate(rows)
    if more is not None:
        first, second, n = more
        needed = f"about {many(n, 'more run')} each" if n <= MOST_MORE else f"more than {MOST_MORE:,} more runs each"
        out.append(f"To show which of {name_of(first)} and {name_of(second)} is better: {needed} (80% power).")
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
    by = tests(len(tested))
    if len(best) == 1:
        more = "is better than each of the others" if best[0]["rank_high"] == 1 else "alone is behind no other"
        return f"{name_of(best[0])} {more} ({by})."
    if not worse:
        return undecided([PairedArm(name_of(r), r["gain"] or 0.0, r["se"], r["n"]) for r in tested])
    text = f"Not shown to be worse than another: {', '.join(map(name_of, best))}. "
    text += f"Shown to be worse: {few([name_of(r) for r in worse], 'arm', MOST_NAMED)} ({by})."
    most = max(r["gain"] or 0.0 for r in worse)
    noisy = [name_of(r) for r in best if (r["gain"] or 0.0) < most]
    why = f" Too few or too noisy runs to show that a lower mean is worse: {', '.join(noisy)}."
    return text + (why if noisy else "")


def arm_gain(r: StandingLine) -> ArmGain:
    return ArmGain(r["program_id"], r["role"], r.get("task"), r.get("unit"), r["n"], r["gain"], r.get("se"))


def runs_to_separate(rows: Sequence[StandingLine]) -> tuple[StandingLine, StandingLine, int] | None:
    """The leader, the next program that is not shown to be worse, and the additional runs of each for 80% power between
    the two; None if there is no such program.

    Normal approximation at the level of the ranks' next test (Holm): n = (z + 0.84)² (s1² + s2²) / d².
    """
    tested = [row for row in rows if row["gain"] is not None]
    shown = sum((row["rank_low"] or 1) - 1 for row in tested)  # each is a pair that differs
    z = NormalDist().inv_cdf(1 - ALPHA / 2 / max(math.comb(len(tested), 2) - shown, 1))
    best: dict[str, tuple[float, float, StandingLine]] = {}
    for row in tested:
        gain, se = row["gain"], row["se"]
        if gain is not None and se and row["role"] != "a/a":
            # a program's best arm: its A/A twin is not second
            best.setdefault(str(row["program_id"] or id(row)), (gain, se, row))
    two = [one for number, one in enumerate(best.values()) if not number or (one[2]["rank_low"] or 1) == 1][:2]
    if len(two) < 2 or two[0][0] <= two[1][0]:
        return None
    variance = sum(se**2 * row["n"] for _, se, row in two)
    needed = math.ceil((z + POWER) ** 2 * variance / (two[0][0] - two[1][0]) ** 2)
    return two[0][2], two[1][2], max(needed - min(row["n"] for *_, row in two), 1)
