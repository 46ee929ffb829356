"""The champion: its last match on a stream that nothing has touched, and the files that a study ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.trust import counts, weakest
from arena.best_of import best_of
from arena.executor import Executor, Progress
from arena.match import Entry, Match
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import resolved_ideas
from meta.claim import Claim, Elsewhere, record, recorded
from meta.homes import Homes
from meta.lineage import Lineage
from meta.plan import Plan
from meta.verdict import sentence, verdict
from programs.bare import without_ideas as without_ideas
from programs.program import Program
from programs.shelf import starter

FINAL = ("confirmation", "reserve")  # purposes of the matches that only tell, and choose nothing


@dataclass(frozen=True)
class Champion:
    program: Program
    claim: Claim
    verdict: str
    trust: str | None = None  # the weakest of the confirmation's verifications
    elsewhere: tuple[Elsewhere, ...] = ()  # on reserved tasks


def confirm(
    homes: Homes, executor: Executor, lineage: Lineage, champion: Program, plan: Plan, progress: Progress
) -> Claim:
    """Run champion, stock, the champion without its ideas and the other controls on fresh run seeds, once."""
    entered = arms(homes, champion) + (controls(homes) if plan.control_runs else [])
    matches = homes.enter("confirmation", entered, purpose="confirmation", stream="confirmation")
    told = play_final(homes, executor, lineage, champion, matches, plan, "for the confirmation", progress)
    for place, match in zip(homes.places, matches, strict=True):
        for arm in match.arms:
            if plan.best_of_seeds and arm.role in ("champion", "control"):
                best_of(place, executor, match, arm, plan.best_of_seeds)
    return told


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


def arms(homes: Homes, champion: Program) -> list[Entry]:
    """Champion and stock, and the champion without its ideas where these matter on any of the tasks."""
    entered = [Entry(champion, "champion"), Entry(starter("stock"), "control")]
    bare = without_ideas(champion)
    if any(resolved_ideas(champion, task) for task in homes.tasks) and homes.tell_apart(bare, champion):
        entered.append(Entry(bare, "without-ideas"))
    return entered


def controls(homes: Homes) -> list[Entry]:
    """What stands beside the champion to say how far figures of this table can be trusted; nothing tests them.

    Stock once more (A/A), and the one-line program where it does not behave like stock anyway.
    """
    stock, one_line = starter("stock"), starter("one-line")
    return [Entry(stock, "a/a"), *([Entry(one_line, "one-line")] if homes.tell_apart(stock, one_line) else [])]


def crown(
    study: Study, lineage: Lineage, program: Program, claim: Claim, elsewhere: Sequence[Elsewhere] = ()
) -> Champion:
    """Write champion.md and champion.evidence.md, then the claim into the ledger: with that the study has ended.

    In this order a study that is killed in between goes on, and writes them again.
    """
    verified = [event for of_run in study.history.verifications.values() for event in of_run.values()]
    trust = weakest(event["trust"] for event in verified if event["stream"] == "confirmation" and counts(event))
    said = "; ".join([verdict(program, claim, study.task.unit, trust), *map(sentence, elsewhere)])
    champion = Champion(program, claim, said, trust, tuple(elsewhere))
    lineage.crown(program.program_id)
    write_whole(study.folder / "champion.md", program.raw)
    write_page(study, champion)
    if study.history.champion is None:
        study.record({"kind": "champion", "program_id": program.program_id, "name": program.name,
                      "verdict": champion.verdict, "holds": claim.holds, "trust": trust, **record(claim),
                      **({"reserve": [there.record() for there in elsewhere]} if elsewhere else {})})  # fmt: skip
    return champion


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
    champion = Champion(program, recorded(event), event["verdict"], event["trust"], elsewhere)
    write_page(study, champion)
    return True
