"""How much of its plan a running study has done, and about how long the rest takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from analysis.wording import duration, many
from meta.claim import LEARNT, START
from meta.cli.board import StudyView
from meta.cost import OVERHEAD
from meta.plan import Plan
from meta.reserve import runs_on_reserved, runs_on_variant


@dataclass(frozen=True)
class RemainingWork:
    """``runs``: of the whole study; ``done``: those that ended, and the shares of those under way."""

    runs: int
    done: float
    seconds_left: float | None  # None before a run has ended

    @property
    def left(self) -> str:
        """The time left, in words."""
        if self.seconds_left is None:
            return "not known before the first run has ended"
        return "the last steps" if self.done >= self.runs else f"about {duration(self.seconds_left)}"


def expected(board: StudyView) -> RemainingWork | None:
    """None where the plan does not say how many runs there will be."""
    runs = planned_runs(
        cast("Mapping[str, Any]", board.config), max((len(m.arms) for m in board.matches.values()), default=0)
    )
    if not runs:
        return None
    ended = [run for run in board.runs.values() if run.state != "running"]
    shares = [run.spent / run.budget for run in board.runs.values() if run.state == "running" and run.budget]
    done = min(len(ended) + sum(min(share, 1.0) for share in shares), float(runs))
    walls = [run.wall for run in ended if run.wall]
    workers = int(board.config.get("workers") or 1)
    left = (runs - done) * sum(walls) / len(walls) / workers * OVERHEAD if walls else None
    return RemainingWork(runs, done, left)


def not_run(board: StudyView) -> str:
    """Why a study that has ended has fewer runs than its plan; empty where it has all, or this is not known."""
    config = cast("Mapping[str, Any]", board.config)
    runs, ended = planned_runs(config, 0), sum(run.state != "running" for run in board.runs.values())
    if not runs or ended >= runs:
        return ""
    plan, tasks = plan_of(config["plan"]), 1 + len(config.get("further") or [])
    views = board.matches.values()
    roles = {arm.role for view in views if view.event.get("purpose") == "confirmation" for arm in view.arms.values()}
    raced = [arm for view in views if view.event.get("purpose") in ("race", "generation") for arm in view.arms.values()]
    why = {
        START: (plan.start_runs, "the program that the champion started from, as one that does the same ran anyway"),
        LEARNT: (plan.learnt_runs, "the program with learnt ideas, as it does the same as the champion"),
        "without-ideas": (plan.ablation_runs, "the champion without its ideas, as it does the same with them"),
        "own": (plan.own_arm * plan.confirm_runs, "your program, as it does the same as the champion or stock"),
    }
    said = [
        f"{many(count * tasks, 'run')} in the confirmation of {text}"
        for role, (count, text) in why.items()
        if count and role not in roles
    ]
    if (fewer := plan.search_runs * tasks - sum(len(arm.runs) for arm in raced)) > 0:
        said.append(f"{many(fewer, 'run')} in the races, which had fewer programs than planned or ended early")
    return f"{ended} of {runs} planned runs were made; not needed: {'; '.join(said)}" if said else ""


def plan_of(given: Mapping[str, Any]) -> Plan:
    return Plan(**{one.name: given[one.name] for one in fields(Plan) if one.name in given})


def planned_runs(config: Mapping[str, Any], arms: int) -> int | None:
    """Of an evolution on tasks, those on held-out tasks included; of a match, ``arms`` times the runs of each."""
    given = config.get("plan") or {}
    if config.get("command") == "match":
        return arms * int(given.get("seeds") or 0) or None
    if "starters" not in given or config.get("families"):
        return None
    plan = plan_of(given)
    reserve = config.get("reserve") or []
    held_out = sum(runs_on_variant(plan) if on.get("variant") else runs_on_reserved(plan) for on in reserve)
    return plan.runs * (1 + len(config.get("further") or [])) + held_out
