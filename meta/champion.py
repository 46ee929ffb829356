"""The champion: the decision about it, and the files that a study ends with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from analysis.found_scripts import found_script
from analysis.ledger.events import ChampionEvent
from analysis.ledger.run_state import StudyState
from analysis.looks import looks_of
from analysis.study import read_study
from analysis.verdict.caveats import caveats
from analysis.verdict.claim import Champion, Claim, named
from analysis.verdict.decision import Decision, HeldOut, Looks, decision_of, state_of
from analysis.verdict.origin import origin_of
from analysis.views.scales import UNIT
from arena.after.harvest import HARVEST
from arena.study.study import Study
from arena.study.task_set import TaskSet
from meta.confirmation import same_as
from meta.lineage import write_programs_git
from meta.night import NIGHT, NightResult, night_is_short
from meta.outcome.evidence_page import evidence_page, harvests
from programs.common.files import write_whole
from programs.evolved_for import EvolvedFor
from programs.program import Program
from programs.shelf import starters
from trainer.freshness import freshness, least_fresh
from trainer.trust import counts, weakest


def finish_study(study: Study, program: Program, decision: Decision, origin: str | None) -> Champion:
    """Write champion.md, champion.evidence.md and programs.git, then the decision into the ledger, which ends the
    study. ``origin``: id of the user's program.

    In this order, a study that is killed in between resumes and writes the files again.
    """
    write_programs_git(study, program.program_id)
    write_champion(study.folder, replace(program, evolved_for=label_of(study, program, origin)))
    for harvest in harvests(study):
        for path, text in harvest.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode())
    champion = Champion(program, decision)
    write_page(study, champion)
    if study.state.champion is None:
        body: dict[str, JsonValue] = {"program_id": program.program_id, "name": program.name}
        body |= {"holds": decision.holds, "trust": decision.trust, "decision": decision.record()}
        study.record(ChampionEvent(body=body))
    return champion


def label_of(study: Study, program: Program, origin: str | None) -> EvolvedFor | None:
    """For which researcher a study evolved its champion; None for a starter or the user's own program, which it only
    found to be the best."""
    known = {origin, *(starter.program_id for starter in starters())}
    return None if program.program_id in known else EvolvedFor.of(study.config.researcher, study.config.llm.models)


def write_champion(folder: Path, program: Program) -> None:
    """champion.md, the entry file; the folder champion/ with all files of a program that has several."""
    program = program.labelled
    write_whole(folder / "champion.md", program.raw)
    shutil.rmtree(folder / "champion", ignore_errors=True)  # of an earlier decision
    if program.is_set:
        program.write(folder / "champion")


def recorded_decision(study: Study) -> Decision | None:
    """The decision of a study that has ended."""
    return decision_of(study.state.champion.body) if study.state.champion else None


def decide_evolution(
    study: Study, champion: Program, claim: Claim, origin: str | None, held_out: Sequence[HeldOut]
) -> Decision:
    """The decision about a champion. ``origin``: id of the user's program."""
    start = study.program(origin) if origin else None
    with read_study(study.folder, views=()) as con:
        begun = origin_of(con, champion.program_id)
    decision = replace(
        decide(study, champion, claim, start),
        origin=begun,
        start=replace(claim.start, name=begun.start) if claim.start and begun else None,
        same_as=same_as(TaskSet.of(study), start, champion) if start else "",
        held_out=tuple(held_out),
    )
    return with_caveats(study, decision)


def decide_night(study: Study, night: NightResult, origin: str) -> Decision:
    """The decision of a night: the programs that it compares took turns."""
    decision = decide(study, night.tested, night.claim, study.program(origin))
    decision = replace(
        decision,
        tested=replace(decision.tested, name=night.contributed[0].name),
        p=night.claim.p if night.is_tested else None,
        night=night.contributed,
        short=night_is_short(study.task, study.config.run_budget),
    )
    return with_caveats(study, decision)


def decide(study: Study, program: Program, claim: Claim, own: Program | None) -> Decision:
    """What the claim and the study's records of its confirmation show of a program."""
    tasks, state = TaskSet.of(study).tasks, study.state
    matches = {match_id: m for match_id, m in state.matches.items() if m.purpose in ("confirmation", NIGHT)}
    arm_ids = {arm.arm_id for match in matches.values() for arm in match.arms}
    verified = [event for event in state.verifications() if event.arm_id in arm_ids]
    harvested = [(task, state.harvests.get((task.name, HARVEST))) for task in tasks]
    name = own.name if own else ""
    return Decision(
        state=state_of(claim.p), name=program.name, unit=UNIT if claim.tasks else tasks[0].unit,
        tasks=claim.tasks, champion=claim.champion, tested=named(claim.tested, name), p=claim.p,
        beside=claim.beside, bare=claim.bare, aa=claim.aa, own=name, learnt=claim.learnt,
        trust=weakest(event.trust for event in verified if counts(event.status, event.trust)),
        fresh=freshness(least_fresh(tasks)), match_ids=tuple(sorted(matches)),
        scripts=tuple(found_script(task, event) for task, event in harvested if event is not None),
        simulated=tuple(task.name for task in tasks if task.law is not None), looks=study_looks(study),
    )  # fmt: skip


def with_caveats(study: Study, decision: Decision) -> Decision:
    with read_study(study.folder, views=("standings",)) as con:
        return replace(decision, caveats=caveats(con, decision))


def study_looks(study: Study) -> Looks | None:
    """The looks of the study at its rows, with those of the night before, as far as its folder is there."""
    if study.task.run is None:
        return None
    study.follow()  # what the workers wrote
    before, earlier = study.config.from_study, 0
    if before is not None and (Path(before.folder) / "ledger").is_dir():
        champion = StudyState.read(Path(before.folder) / "ledger").champion
        seen = decision_of(champion.body).looks if champion else None
        earlier = seen.tries if seen else 0
    return looks_of(study.folder, study.state, study.task, study.streams, earlier)


def write_page(study: Study, champion: Champion) -> None:
    write_whole(study.folder / "champion.evidence.md", evidence_page(study, champion).encode("utf-8"))


def write_page_again(study: Study) -> bool:
    """Write champion.evidence.md from the current ledger, with the recorded decision; False without a champion."""
    event, decision = study.state.champion, recorded_decision(study)
    if event is None or decision is None:
        return False
    write_page(study, Champion(study.program(str(event.body["program_id"])), decision))
    return True
