"""What the page of a study shows, from what was read of its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.statistics import Mean
from analysis.transfer import FINAL
from analysis.trust import WHY, shared_gain_name, weakest
from analysis.verdict.verdict import decided
from analysis.wording import arm_name, role_name
from meta.cli.board import ArmView, MatchView, RunView, StudyView
from meta.cli.screen import CONTROLS, have_run
from meta.steering import OPERATOR
from meta.window.planned import expected
from meta.window.studies import FollowedStudy
from programs.shelf import starter

MOST_RUNS = 100  # listed
MOST_SHOWN = 5  # matches: the confirmation and those on held-out tasks
AFTERWARDS = ("ablation", "reserve")  # purposes of matches that decide nothing where there is another
TRUST = {
    "verified": "trained in a sandbox and scored from outside, on data reserved for the deciding match",
    "scored": "trained in a sandbox and scored from outside, on the data used to choose programs",
    **WHY,
}


@dataclass(frozen=True)
class ShownArm:
    """A program in a match; gains are means over its runs."""

    name: str
    program_id: str
    role: str
    gain: Mean
    claimed: float | None
    claims: int  # runs that ``claimed`` is a mean over, those under way included
    kept: int
    tried: int
    runs: int
    ended: int
    spent: float
    doing: str


def of_study(one: FollowedStudy, match: str) -> dict[str, Any]:
    board = one.board
    matches = [board.matches[match]] if match in board.matches else first_matches(board)
    chosen = matches[0] if matches else None
    listed = [(run, name_of(board, arm)) for arm in (chosen.arms.values() if chosen else ()) for run in arm.runs]
    listed.sort(key=lambda pair: pair[0].started_at, reverse=True)
    return {
        "board": board,
        "chosen": chosen,
        "shown": [(view, heading(view), shown_arms(board, view), gains_drawn(board, view)) for view in matches],
        "others": [(view.event["match_id"], heading(view), view in matches) for view in in_order(board)],
        "runs": listed[:MOST_RUNS],
        "more_runs": max(0, len(listed) - MOST_RUNS),
        "programs": lineage(board),
        "search_task": search_task(board),
        "requests": one.requests(),
        "verdict": board.verdict,
        "table": decided(board.decision).table if board.decision else [],
        "trust": trust(board, chosen),
        "gain_name": shared_gain_name(board.trusts).capitalize(),
        "data_use": "No program is" if is_final(chosen) else "Programs of the search are also",
        "expected": expected(board) if one.at_work else None,
    }


def shown_first(board: StudyView) -> MatchView | None:
    """The running match, else the (last) confirmation, else the last match that chose programs."""
    views = list(board.matches.values())
    running = [view for view in views if view.state == "running"]
    confirmed = [view for view in views if view.event.get("purpose") == "confirmation"]
    searched = [view for view in views if view.event.get("purpose") not in AFTERWARDS]
    return next((some[-1] for some in (running, confirmed, searched, views) if some), None)


def first_matches(board: StudyView) -> list[MatchView]:
    """The deciding match; below a confirmation those on its other tasks and on held-out tasks."""
    first, views = shown_first(board), list(board.matches.values())
    if first is None or first.event.get("purpose") != "confirmation":
        return [first] if first else []
    beside = board.deciding if board.decision else []
    held_out = [view for view in views if view.event.get("purpose") == "reserve"]
    return list({id(view): view for view in (first, *beside, *held_out)}.values())[:MOST_SHOWN]


def in_order(board: StudyView) -> list[MatchView]:
    """All matches: the confirmation and the held-out tasks, then the search from its beginning."""
    order = {"confirmation": 0, "reserve": 1}
    return sorted(board.matches.values(), key=lambda view: order.get(str(view.event.get("purpose")), 2))


def heading(view: MatchView) -> tuple[str, str]:
    """(what the match is, its task)."""
    return "held-out task" if view.event.get("purpose") == "reserve" else view.title, str(view.event.get("task") or "")


def name_of(board: StudyView, arm: ArmView) -> str:
    return arm_name(arm.names or board.name(arm.program_id), arm.role)


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def shown_arms(board: StudyView, match: MatchView) -> list[ShownArm]:
    return [_shown_arm(board, match, arm) for arm in board.arms_of(match)]


def _shown_arm(board: StudyView, match: MatchView, arm: ArmView) -> ShownArm:
    claims = [gain for run in arm.runs if (gain := run.claimed_gain(match.sign)) is not None]
    at_work = [run.doing for run in arm.runs if run.state == "running"]
    return ShownArm(
        name_of(board, arm),
        arm.program_id,
        role(board, arm),
        arm.mean,
        mean(claims),
        len(claims),
        sum(run.kept for run in arm.runs),
        sum(run.tried for run in arm.runs),
        len(arm.runs),
        sum(run.state != "running" for run in arm.runs),
        sum(run.spent for run in arm.runs),
        at_work[-1] if at_work else "done" if arm.runs else "waiting",
    )


def role(board: StudyView, arm: ArmView) -> str:
    """The parents of an arm's program, else its role; and whether a person gave it."""
    parents = board.programs.get(arm.program_id, {}).get("parent_ids") or []
    alone = arm.role not in ("", "program") or not parents
    said = role_name(arm.role) or "program" if alone else "from " + " and ".join(board.name(one) for one in parents)
    return f"{said}, {OPERATOR}" if board.programs.get(arm.program_id, {}).get("operator") == OPERATOR else said


def gains_drawn(board: StudyView, match: MatchView) -> dict[str, Any] | None:
    """Each run of a match that was verified, as a dot: its arm's line, its gain; positions in percent of the width."""
    stock = starter("stock").program_id
    arms = [
        (name_of(board, arm), arm.program_id == stock, [(r.run_id, r.gain) for r in arm.runs if r.gain is not None])
        for arm in match.arms.values()
    ]
    values = [0.0, *(gain for _, _, runs in arms for _, gain in runs)]
    low, high = min(values), max(values)
    if low == high:
        return None

    def at(value: float) -> float:
        return round(2 + 96 * (value - low) / (high - low), 2)

    arms.sort(key=lambda one: -(mean([gain for _, gain in one[2]]) or 0.0))
    drawn = [(name, is_stock, [(run, at(gain), gain) for run, gain in runs]) for name, is_stock, runs in arms if runs]
    means = [at(sum(gain for _, _, gain in runs) / len(runs)) for _, _, runs in drawn]
    unit = (match.event.get("config") or {}).get("unit") or ""
    return {"arms": list(zip(drawn, means, strict=True)), "zero": at(0.0), "low": low, "high": high, "unit": unit}


def search_task(board: StudyView) -> str:
    """The task of the first match, on which the lineage compares the programs."""
    return str(next(iter(board.matches.values())).event.get("task") or "") if board.matches else ""


def searched_runs(board: StudyView) -> list[tuple[str, RunView]]:
    """(program, run) of the finished runs that chose programs, as the report's lineage counts them: without the
    confirmation, held-out tasks and ablations; on one task, because others have other units."""
    task = search_task(board)
    views = [view for view in board.matches.values() if view.event.get("task") == task]
    views = [view for view in views if view.event.get("purpose") not in ("confirmation", "night", *AFTERWARDS)]
    arms = [arm for view in views for arm in view.arms.values()]
    return [(arm.program_id, run) for arm in arms for run in arm.runs if run.state == "finished"]


def lineage(board: StudyView) -> list[dict[str, Any]]:
    """The programs, each below its first parent; ``depth``: of the tree. Variants that only compare are left out."""
    gains: dict[str, list[float]] = {}
    for program_id, run in searched_runs(board):
        gains.setdefault(program_id, []).extend([] if run.gain is None else [run.gain])
    programs = {one: event for one, event in board.programs.items() if event.get("operator") not in CONTROLS}
    children: dict[str, list[str]] = {}
    for identity, event in programs.items():
        parents = [one for one in event.get("parent_ids") or [] if one in programs]
        children.setdefault(parents[0] if parents else "", []).append(identity)
    champion = (board.champion or {}).get("program_id")
    ran = have_run(board)
    listed: list[dict[str, Any]] = []

    def walk(parent: str, depth: int) -> None:
        for identity in children.get(parent, ()):
            known = gains.get(identity, [])
            listed.append(
                {
                    "id": identity,
                    "name": board.name(identity),
                    "depth": depth,
                    "n": len(known),
                    "ran": identity in ran,
                    "gain": mean(known),
                    "champion": identity == champion,
                    "steered": programs[identity].get("operator") == OPERATOR,
                }
            )
            if depth < 40:
                walk(identity, depth + 1)

    walk("", 0)
    return listed


def is_final(match: MatchView | None) -> bool:
    """Whether the data of the match are not used to choose programs."""
    return match is not None and match.event.get("stream") in FINAL


def trust(board: StudyView, match: MatchView | None) -> tuple[str, str, str]:
    """(of what, its level, the meaning of that): of the verdict where there is one, else of all experiments; beside a
    confirmation that has not ended, the level is that of the search before it."""
    announced = (board.champion or {}).get("trust")
    level = str(announced or weakest(board.trusts) or "")
    what = "Trust of the verdict" if announced else "Trust of the experiments"
    meaning = TRUST.get(level, "")
    if level == "scored" and not announced and is_final(match):
        meaning = (
            f"the experiments of the search were {meaning}; the data of the match below are not used to choose programs"
        )
    return what, level or "nothing was trained", meaning
