"""Time estimates: wall seconds of a run, progress of the decision."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, cast

from sqlalchemy import select
from typing_extensions import TypedDict

from analysis.wording import duration
from arena.contest.stored import RacePlace
from arena.contest.tables import Act, ContestEntry

if TYPE_CHECKING:
    from arena.contest.contest import Contest

REMEMBERED = 20  # runs at full budget
WAS_VOID = "not in the race of the leaders: it was void when the race began"


def record_run_time(contest: Contest, seconds: float) -> None:
    """Store the wall time of a run, verification included."""
    last = _latest(contest)
    contest.database.set_fact("pace", seconds=[*last, round(seconds, 2)][-REMEMBERED:])


def run_seconds(contest: Contest) -> tuple[float, bool]:
    """Wall seconds of a run with its verification; True if it is the median of the latest runs, False if it comes from
    the budgets, which a busy machine exceeds."""
    last = _latest(contest)
    if last:
        return statistics.median(last), True
    return contest.costs.run + contest.study.verify_seeds * contest.task.cost_seconds, False


def _latest(contest: Contest) -> list[float]:
    return cast(list[float], contest.database.fact("pace").get("seconds", []))


class ConfirmingRuns(TypedDict, total=False):
    """``done`` confirming runs of at most ``wanted``; ``seconds`` until the last of them; ``race``: how each leader
    stands; ``next_look``: runs of each at it; ``looks``: who left at each look so far, in lines. Empty while nothing
    is being decided; once the decision is made, only ``done`` and ``wanted``, which are equal."""

    done: int
    wanted: int
    seconds: float
    race: list[RacePlace]
    next_look: int  # runs of each; 0 after the last look
    looks: list[str]


def deciding(contest: Contest) -> ConfirmingRuns:
    counts = cast(ConfirmingRuns, contest.database.fact("deciding") if contest.phase() == "deciding" else {})
    if not counts:
        return {}
    if contest.database.fact("announcement"):  # the decision is made, but not published yet
        return {"done": counts["done"], "wanted": counts["done"]}
    left = max(0, counts["wanted"] - counts["done"])
    return {**counts, "seconds": round(left * run_seconds(contest)[0] / contest.study.workers, 1)}


def progress_line(counts: ConfirmingRuns) -> str:
    """How many confirming runs there are, and an estimate of the time of the others; empty without any."""
    if not counts:
        return ""
    done, most = counts["done"], counts["wanted"]
    if done >= most:
        return f"all {done} confirming runs are done; the decision is being published"
    left = f", at most {duration(counts['seconds'])} left at this pace" if "seconds" in counts else ""
    return f"{done} of at most {most} confirming runs{left}"


def most_seconds(contest: Contest, entries: int) -> float:
    """How long all confirming runs of so many entries would take, by the clock, at the pace of the latest runs."""
    arms = min(entries, contest.config.most_leaders) + 2
    return math.ceil(arms * contest.config.confirm_runs / contest.study.workers) * run_seconds(contest)[0]


def in_race(contest: Contest) -> dict[int, str]:
    """Number → how a leader stands in the race while it goes on, and why each other entry is not in it."""
    standings = {leader["number"]: leader["said"] for leader in deciding(contest).get("race", ())}
    return {**not_in_race(contest), **standings} if standings else {}


def not_in_race(contest: Contest) -> dict[int, str]:
    """Number → why an entry was not among the leaders when their race began. One that was void then and has been
    reinstated since is not called void; one that is void now has its present reason."""
    reasons = {int(number): str(why) for number, why in contest.database.fact("not_racing").items()}
    with contest.database.read() as connection:
        since = connection.scalars(select(Act).where(Act.phase == "deciding").order_by(Act.act_id.desc()))
        first = {act.number: act for act in since}  # the oldest: it has the state in which the race found the entry
        lifted = {number: WAS_VOID for number, act in first.items() if number in reasons and act.what == "unvoid"}
        void = select(ContestEntry).where(ContestEntry.state == "void", ContestEntry.number.in_(reasons))
        return reasons | lifted | {entry.number: entry.reason for entry in connection.scalars(void)}
