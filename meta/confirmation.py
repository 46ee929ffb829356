"""The confirmation: the champion's last match, on a stream that nothing has touched."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.decision import CONTROL_FAILED, decision_of
from analysis.same_spend import ROLE, same_spend
from analysis.study import open_study
from arena.best_of import best_of
from arena.executor import Executor, Progress
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import resolved_ideas
from meta.claim import Claim
from meta.homes import Homes
from meta.lineage import Lineage
from meta.plan import BEST_OF_SEEDS, Plan
from programs.bare import without_ideas
from programs.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Stream

FINAL = ("confirmation", "reserve", "same-spend")  # purposes of the matches that only tell, and choose nothing
# Look → label and stream of its match. No home task is ever reserved, so the home tasks' own fourth split is untouched.
LOOKS: dict[int, tuple[str, Stream]] = {1: ("confirmation", "confirmation"), 2: ("confirmation-2", "reserve")}


def confirm(
    homes: Homes, executor: Executor, lineage: Lineage, champion: Program, plan: Plan, progress: Progress,
    look: int = 1,
) -> Claim:  # fmt: skip
    """Run champion, stock, the champion without its ideas and the other controls on fresh run seeds, once; as the
    second ``look`` on a split of its own."""
    entered = arms(homes, champion, own_of(homes.places[0], plan)) + (controls(homes) if plan.control_runs else [])
    label, stream = LOOKS[look]
    matches = homes.enter(label, entered, purpose="confirmation", stream=stream)
    told = play_final(homes, executor, lineage, champion, matches, plan, "for the confirmation", progress)
    for place, match in zip(homes.places, matches, strict=True):
        for arm in match.arms:
            if plan.best_of_seeds and arm.role in ("champion", "control"):
                best_of(place, executor, match, arm, plan.best_of_seeds)
    if plan.same_spend and look == 1:
        for place in homes.places:
            spend_on_stock(place, executor, progress, plan.best_of_seeds or BEST_OF_SEEDS)
    return told


def spend_on_stock(study: Study, executor: Executor, progress: Progress, seeds: int) -> None:
    """Run stock as often as all that the study has spent on this task buys, and measure the best of its scripts."""
    stock = starter("stock")
    with open_study(study.folder, views=()) as con:
        found = same_spend(con, study.task.name, study.task.unit, stock.program_id)
    if found is None:
        return
    entered = [Entry(stock, ROLE)]
    label = f"{ROLE}-{study.task.name}"
    match = enter(study, label, entered, purpose=ROLE, stream="confirmation")
    play(study, executor, match, Allocation({match.arms[0].arm_id: found.runs}), progress)
    best_of(study, executor, match, match.arms[0], seeds)


def play_final(
    homes: Homes, executor: Executor, lineage: Lineage, champion: Program, matches: Sequence[Match], plan: Plan,
    reason: str, progress: Progress,
) -> Claim:  # fmt: skip
    """Write down who plays a match that only tells, on each task, play it, and read the claim from it."""
    study, match = homes.places[0], matches[0]
    few = {"without-ideas": plan.ablation_runs, "a/a": plan.control_runs, "one-line": plan.control_runs}
    runs = Allocation({arm.arm_id: few.get(arm.role, plan.confirm_runs) for arm in match.arms})
    for arm in match.arms:
        lineage.add(arm.program, operator=arm.role, parent_ids=[champion.program_id], reason=reason)
        study.admit(arm.program, generation=plan.generations, operator=arm.role, parent_ids=[champion.program_id])
    return homes.claim(matches, homes.play(executor, matches, runs, progress))


def own_of(study: Study, plan: Plan) -> Program | None:
    """The user's own program, where it is to be an arm of the confirmation."""
    origin = study.config.plan.get("origin")
    return study.program(origin) if plan.own_arm and origin else None


def arms(homes: Homes, champion: Program, own: Program | None = None) -> list[Entry]:
    """Champion and stock, the user's own program where it differs from both, and the champion without its ideas where
    these matter on any of the tasks."""
    entered = [Entry(champion, "champion"), Entry(starter("stock"), "control")]
    if own is not None and not same_as(homes, own, champion):
        entered.append(Entry(own, "own"))
    bare = without_ideas(champion)
    if any(resolved_ideas(champion, task) for task in homes.tasks) and homes.tell_apart(bare, champion):
        entered.append(Entry(bare, "without-ideas"))
    return entered


def same_as(homes: Homes, own: Program, champion: Program) -> str:
    """``champion`` or ``stock`` where the user's own program behaves like that one; else empty."""
    if not homes.tell_apart(own, champion):
        return "champion"
    return "" if homes.tell_apart(own, starter("stock")) else "stock"


def controls(homes: Homes) -> list[Entry]:
    """What stands beside the champion to say how far figures of this table can be trusted; nothing tests them.

    Stock once more (A/A), and the one-line program where it does not behave like stock anyway.
    """
    stock, one_line = starter("stock"), starter("one-line")
    return [Entry(stock, "a/a"), *([Entry(one_line, "one-line")] if homes.tell_apart(stock, one_line) else [])]


def look_of(study: Study, again: bool) -> int:
    """Which confirmation the study is at: the second where it has been begun, or is asked for by ``again``.

    Raises UsageError where it is asked for and the control has not failed its check.
    """
    begun = any(match.label == LOOKS[2][0] for match in study.state.matches.values())
    if not again or begun:
        return 2 if begun else 1
    event = study.state.champion
    decision = decision_of(event.body) if event else None
    if decision is None or not decision.can_be_confirmed_again:
        why = "has no champion yet" if decision is None else "has a verdict"
        raise UsageError(
            f"{study.folder} {why}: nothing is confirmed again",
            hint=f"--confirm-again goes on where the outcome is {CONTROL_FAILED!r}; a new study has splits of its own",
        )
    return 2
