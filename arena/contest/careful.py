"""The decision's runs where workers die over them: one arm at a time, and an arm that stays so is left out.

Whom a death belongs to cannot be told while several arms play at once. After the first one that this host does not meet
with a plain experiment too, each arm plays alone; what is lost then is the arm's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.events import ActEvent
from arena.contest import acts
from arena.contest.contest import Contest
from arena.contest.settings import utc_now
from arena.contest.tables import ContestEntry
from arena.race import ArmScore
from arena.study import Study

MOST_ATTEMPTS = 3  # of an arm that plays alone


class Careful:
    """A racer that gives each arm of a match, one for each of ``entries``, its runs: all arms at once, one by one
    after workers were lost over them, none of an entry that is void or was given up. ``hidden``: the hidden task that
    the match is on; what is lost there is nothing to the decision."""

    def __init__(self, contest: Contest, entries: Sequence[ContestEntry], runs: int, hidden: str = "") -> None:
        self.contest, self.entries, self.runs, self.hidden = contest, entries, runs, hidden

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        state, gone = self.contest.state(), left_out(self.contest, self.entries, self.hidden)
        wanted = {
            score.arm_id: entry for score, entry in zip(scores, self.entries, strict=True)
            if len(score.gains) < self.runs and entry.number not in gone
        }  # fmt: skip
        if not state.get("careful") or not wanted:
            return dict.fromkeys(wanted, self.runs)
        arm, entry = next(iter(wanted.items()))
        control = entry.role != "program"
        alone = {"arm_id": arm, "number": entry.number, "control": control, "hidden": self.hidden}
        self.contest.state(alone=alone)
        return {arm: self.runs}


def lost(contest: Contest, study: Study, why: str) -> str:
    """Workers died over the decision's runs, on a host that is well. Returns what to tell the log of it."""
    state = contest.state()
    alone = state.get("alone")
    if alone is None:
        contest.state(careful=True)
        return "from now on the leaders play one after the other, to find out whose runs these are"
    lost_arms = dict(state.get("lost") or {})
    attempts = 1 + lost_arms.get(alone["arm_id"], {}).get("attempts", 0)
    lost_arms[alone["arm_id"]] = {
        "attempts": attempts,
        "why": why,
        "number": alone["number"],
        "hidden": alone["hidden"],
    }
    contest.state(lost=lost_arms)
    if attempts != MOST_ATTEMPTS or alone["control"]:  # without stock there is no decision
        return f"entry {alone['number']}: attempt {attempts} of its confirming runs was lost"
    record(contest, study, alone["number"], [alone["arm_id"]], given_up(lost_arms[alone["arm_id"]]))
    return f"entry {alone['number']} takes no further part"


def given_up(lost_arm: Mapping[str, Any]) -> str:
    return f"this host could not carry its runs out, {lost_arm['attempts']} times; the last time: {lost_arm['why']}"


def left_out(contest: Contest, entries: Sequence[ContestEntry], hidden: str = "") -> dict[int, str]:
    """number → why, of those among ``entries`` that the decision goes on without: void, or given up on some task; that
    a match on a ``hidden`` task goes on without: those, and who was given up there."""
    lost = (contest.state().get("lost") or {}).values()
    here = [
        lost_arm for lost_arm in lost if lost_arm["attempts"] >= MOST_ATTEMPTS and lost_arm["hidden"] in ("", hidden)
    ]
    given = {lost_arm["number"]: given_up(lost_arm) for lost_arm in here}
    reasons = {e.number: given[e.number] for e in entries if e.role == "program" and e.number in given}
    numbers = [entry.number for entry in entries]
    with contest.database.read() as connection:
        void = (
            connection.query(ContestEntry).where(ContestEntry.number.in_(numbers), ContestEntry.state == "void").all()
        )
    return reasons | {entry.number: entry.reason for entry in void}


def left_out_rows(contest: Contest, entries: Sequence[ContestEntry]) -> list[dict[str, Any]]:
    """The same for the announcement."""
    gone = left_out(contest, entries)
    return [
        {"entry_id": e.entry_id, "number": e.number, "entrant": e.entrant, "name": e.name, "why": gone[e.number]}
        for e in entries if e.number in gone
    ]  # fmt: skip


def record(contest: Contest, study: Study, number: int, arm_ids: Sequence[str], because: str) -> None:
    """Into the ledger, by which the views leave arms that were given up out of the ranks."""
    with contest.database.read() as connection:
        entry = connection.get_one(ContestEntry, number)
    study.record(ActEvent(body={
        "what": acts.VOID, "entry_id": entry.entry_id, "number": number, "entrant": entry.entrant,
        "because": because, "at": utc_now().isoformat(), "phase": contest.phase(), "arm_ids": list(arm_ids),
    }))  # fmt: skip
