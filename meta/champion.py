"""The champion: its last match on a stream that nothing has touched, and the files that a study ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.decision import CONTROL_FAILED, Decision, decision_of
from analysis.decision_text import line
from analysis.same_spend import ROLE, SameSpend, same_spend
from analysis.study import open_study
from analysis.trust import counts, weakest
from arena.best_of import best_of
from arena.executor import Executor, Progress
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import resolved_ideas
from meta.claim import Claim, Elsewhere, record, recorded
from meta.homes import Homes
from meta.lineage import Lineage
from meta.plan import BEST_OF_SEEDS, Plan
from meta.verdict import decide, sentence
from programs.bare import without_ideas as without_ideas
from programs.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from trainer.streams import Stream

FINAL = ("confirmation", "reserve", "same-spend")  # purposes of the matches that only tell, and choose nothing
# Look → label and stream of its match. No home task is ever reserved, so the home tasks' own fourth split is untouched.
LOOKS: dict[int, tuple[str, Stream]] = {1: ("confirmation", "confirmation"), 2: ("confirmation-2", "reserve")}


@dataclass(frozen=True)
class Champion:
    program: Program
    claim: Claim
    verdict: str
    decision: Decision
    elsewhere: tuple[Elsewhere, ...] = ()  # on reserved tasks

    @property
    def trust(self) -> str | None:
        """The weakest of the confirmation's verifications."""
        return self.decision.trust


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


def crown(
    study: Study, lineage: Lineage, program: Program, claim: Claim, elsewhere: Sequence[Elsewhere] = (), look: int = 1
) -> Champion:
    """Write champion.md and champion.evidence.md, then the claim into the ledger: with that the study has ended.

    In this order a study that is killed in between goes on, and writes them again.
    """
    event = study.history.champion
    ended = event is not None and decision_of(event).look >= look
    decision = decision_of(event) if event and ended else decided(study, program, claim, look)
    said = event["verdict"] if event and ended else "; ".join([line(decision), *map(sentence, elsewhere)])
    claim = recorded(event) if event and ended else claim
    champion = Champion(program, claim, said, decision, tuple(elsewhere))
    lineage.crown(program.program_id)
    write_whole(study.folder / "champion.md", program.raw)
    write_page(study, champion)
    if not ended:
        study.record({"kind": "champion", "program_id": program.program_id, "name": program.name,
                      "verdict": champion.verdict, "holds": decision.holds, "trust": decision.trust,
                      "decision": decision.record(), **record(claim),
                      **({"reserve": [there.record() for there in elsewhere]} if elsewhere else {})})  # fmt: skip
    return champion


def decided(study: Study, program: Program, claim: Claim, look: int) -> Decision:
    """The decision, from the claim and what the study holds of the matches that it was made from."""
    homes, stream = Homes.of(study), LOOKS[look][1]
    played = {
        match_id: [arm["arm_id"] for arm in match["arms"]]
        for match_id, match in study.history.matches.items()
        if match["purpose"] == "confirmation" and match["stream"] == stream
    }
    arm_ids = {arm_id for arms in played.values() for arm_id in arms}
    verified = [event for of_run in study.history.verifications.values() for event in of_run.values()]
    trust = weakest(event["trust"] for event in verified if event["arm_id"] in arm_ids and counts(event))
    origin = study.config.plan.get("origin")
    own = study.program(origin) if origin else None
    same = same_as(homes, own, program) if own else ""
    return decide(
        program, claim, homes.tasks, trust=trust, own=own.name if own else "", same_as=same, look=look,
        match_ids=sorted(played), spend=spend_of(homes),
    )  # fmt: skip


def spend_of(homes: Homes) -> list[SameSpend]:
    """On each home task, what stock reaches with all that the study has spent there."""
    stock = starter("stock").program_id
    with open_study(homes.places[0].folder, views=()) as con:
        found = [same_spend(con, task.name, task.unit, stock) for task in homes.tasks]
    return [each for each in found if each is not None]


def look_of(study: Study, again: bool) -> int:
    """Which confirmation the study is at: the second where it has been begun, or is asked for by ``again``.

    Raises UsageError where it is asked for and the control has not failed its check.
    """
    begun = any(match["label"] == LOOKS[2][0] for match in study.history.matches.values())
    if not again or begun:
        return 2 if begun else 1
    event = study.history.champion
    decision = decision_of(event) if event else None
    if decision is None or not decision.can_be_confirmed_again:
        why = "has no champion yet" if decision is None else "has a verdict"
        raise UsageError(
            f"{study.folder} {why}: nothing is confirmed again",
            hint=f"--confirm-again goes on where the outcome is {CONTROL_FAILED!r}; a new study has splits of its own",
        )
    return 2


def write_page(study: Study, champion: Champion) -> None:
    from meta.evidence_page import evidence_page

    write_whole(study.folder / "champion.evidence.md", evidence_page(study, champion).encode("utf-8"))


def write_whole(path: Path, data: bytes) -> None:
    """A reader finds the old file or the new one, never a part of either."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def write_page_again(study: Study) -> bool:
    """champion.evidence.md from what the ledger holds by now, the claim as recorded; False without a champion."""
    event = study.history.champion
    if event is None:
        return False
    elsewhere = tuple(
        Elsewhere(**{**there, "claim": recorded(there["claim"]) if there["claim"] else None})
        for there in event.get("reserve", ())
    )
    program = study.program(event["program_id"])
    champion = Champion(program, recorded(event), event["verdict"], decision_of(event), elsewhere)
    write_page(study, champion)
    return True
