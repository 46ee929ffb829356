"""Confirming runs when workers die: one arm at a time, and an arm that keeps losing runs is left out.

While several arms run at once, a death cannot be attributed to one of them. After the first death that a plain
experiment on this host does not reproduce, each arm runs alone; a run lost then is attributed to its arm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from analysis.ledger.events import ActEvent
from arena.contest import acts
from arena.contest.contest import Contest
from arena.contest.settings import utc_now
from arena.contest.stored import IsolatedArm, LeftOutEntry, LostArm
from arena.contest.tables import ContestEntry
from arena.race import ArmScore
from arena.study import Study

WantedRuns = Callable[[Collection[int]], Mapping[int, int]]
MOST_ATTEMPTS = 3  # of an arm that runs alone


class IsolatingRacer:
    """A racer that gives each arm of a match, one per entry, the runs that ``wanted`` asks for, given the numbers of
    the entries that are left out: all arms at once, or one by one after workers were lost; no runs for an entry that
    is void or was given up."""

    def __init__(self, contest: Contest, entries: Sequence[ContestEntry], wanted: WantedRuns) -> None:
        self.contest, self.entries, self.wanted = contest, entries, wanted

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        state, gone = self.contest.state(), left_out(self.contest, self.entries)
        runs = self.wanted(gone.keys())
        arms = {s.arm_id: e for s, e in zip(scores, self.entries, strict=True) if e.number in runs}
        if not state.get("careful") or not arms:
            return {arm: runs[entry.number] for arm, entry in arms.items()}
        arm, entry = next(iter(arms.items()))
        control = entry.role != "program"
        alone: IsolatedArm = {"arm_id": arm, "number": entry.number, "control": control}
        self.contest.state(alone=alone)
        return {arm: runs[entry.number]}


def lost(contest: Contest, study: Study, why: str) -> str:
    """Workers died during confirming runs on a healthy host. Returns the line for the log."""
    state = contest.state()
    alone = state.get("alone")
    if alone is None:
        contest.state(careful=True)
        return "from now on the leaders run one after the other, to find out whose runs are lost"
    lost_arms = dict(state.get("lost") or {})
    before = lost_arms.get(alone["arm_id"])
    attempts = 1 + (before["attempts"] if before else 0)
    lost_arms[alone["arm_id"]] = {"attempts": attempts, "why": why, "number": alone["number"]}
    contest.state(lost=lost_arms)
    with contest.database.read() as connection:
        name = connection.get_one(ContestEntry, alone["number"]).label
    if attempts != MOST_ATTEMPTS or alone["control"]:  # stock is never left out
        return f"{name}: attempt {attempts} of its confirming runs was lost"
    why = given_up(lost_arms[alone["arm_id"]])
    record(contest, study, alone["number"], [alone["arm_id"]], why)
    return f"{name} is left out of the decision"


def given_up(lost_arm: LostArm) -> str:
    return f"the host could not run it in {lost_arm['attempts']} attempts; last error: {lost_arm['why']}"


def left_out(contest: Contest, entries: Sequence[ContestEntry]) -> dict[int, str]:
    """number → reason, of the entries that the decision leaves out: void, or given up."""
    lost = (contest.state().get("lost") or {}).values()
    here = [arm for arm in lost if arm["attempts"] >= MOST_ATTEMPTS]
    given = {arm["number"]: given_up(arm) for arm in here}
    reasons = {e.number: given[e.number] for e in entries if e.role == "program" and e.number in given}
    numbers = [entry.number for entry in entries]
    with contest.database.read() as connection:
        entries_now = connection.query(ContestEntry).where(ContestEntry.number.in_(numbers))
        void = entries_now.where(ContestEntry.state == "void").all()
    return reasons | {entry.number: entry.reason for entry in void}


def left_out_rows(contest: Contest, entries: Sequence[ContestEntry]) -> list[LeftOutEntry]:
    """The same as rows of the announcement."""
    gone = left_out(contest, entries)
    return [{**e.named, "why": gone[e.number]} for e in entries if e.number in gone]


def record(contest: Contest, study: Study, number: int, arm_ids: Sequence[str], because: str) -> None:
    """Record in the ledger that arms of an entry were given up; the views then leave them out of the ranks."""
    with contest.database.read() as connection:
        entry = connection.get_one(ContestEntry, number)
    study.record(
        ActEvent(
            body={
                "what": acts.VOID,
                "entry_id": entry.entry_id,
                "number": number,
                "entrant": entry.entrant,
                "because": because,
                "at": utc_now().isoformat(),
                "phase": contest.phase(),
                "arm_ids": cast("list[JsonValue]", list(arm_ids)),
            }
        )
    )
