"""The models of a study as mutators: one client per model for the whole study, one desk per generation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.evidence import Evidence
from arena.drain import drained
from arena.executor import Progress
from inner_loop.kit import Kit, Staff
from inner_loop.models import prices
from inner_loop.models.client import Client
from meta.mutators.bandit import Bandit, past
from meta.mutators.llm import bill
from meta.mutators.llm.briefing import brief
from meta.mutators.llm.desk import Desk
from meta.mutators.llm.kinds import kind, offered
from meta.mutators.llm.mutator import LlmMutator
from meta.mutators.llm.sight import sight_of
from meta.mutators.llm.traces import gather
from meta.mutators.mix import Mix
from programs.program import Program
from programs.shelf import meta_program

if TYPE_CHECKING:
    from arena.study import Study
from arena.task_study import tasks_of

RECORD, REPLAY = "METALOOP_RECORD", "METALOOP_REPLAY"  # folders: they belong to a command, not to its study


class Author:
    """Calls are made in the study's process and written to its own ledger segment; recorded ones are not made again."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self.study = study
        self.progress = progress
        staff = study.config.staff
        recorded = tuple(study.state.calls)
        self.instruction = instruction(study.config.meta_program)
        record, replay = (Path(told) if (told := os.environ.get(name)) else None for name in (RECORD, REPLAY))
        seed = study.streams.seed("search", "calls")
        self.clients = {
            model: Client(
                Kit(
                    staff=first(staff, model), study=study.folder, recorded=recorded, emit=study.record,
                    should_stop=lambda: (study.folder / "stop").exists(), record=record, replay=replay,
                ),
                seed,
            )
            for model in staff.models
        }  # fmt: skip

    def chooser(self, mix: Mix, generation: int, facts: Evidence) -> Bandit:
        """The operators of a generation, offline and asked, with what their children gained until now."""
        config, plan = self.study.config, self.study.config.plan
        desk = Desk(
            self.clients, generation=generation, most=bill.replies(plan["children"]),
            reply_tokens=config.staff.reply_tokens, note=lambda text: self.progress({"kind": "note", "text": text}),
            stopped=lambda: drained(self.study),
        )  # fmt: skip
        sight = sight_of(config.staff)
        traces = gather(self.study, generation, facts) if sight.how != "none" else ()
        briefing = brief(self.study, self.instruction, sight, traces)
        kinds = (*offered(config.researcher), kind("repair"))
        asking = [LlmMutator(k, model, desk, briefing) for model in config.staff.models for k in kinds]
        race = plan["child_runs"] * sum(on.cost.run for on in tasks_of(self.study))
        arms = past(self.study.state.mutations, facts.mutations)
        return Bandit(mix, asking, arms, race, bill.usual_usd(config.staff))


def author_of(study: Study, progress: Progress) -> Author | None:
    """None where the study has no models: then programs are written offline, as ever."""
    staff = study.config.staff
    if not staff.models:
        return None
    if not os.environ.get(REPLAY):
        prices.require_ready(staff)
    return Author(study, progress)


def first(staff: Staff, model: str) -> Staff:
    """The staff with one model preferred, and the others to fall back on."""
    others = tuple(other for other in staff.models if other != model)
    return staff.model_copy(update={"models": (model, *others)})


def instruction(text: str | None) -> Program:
    """The program that mutation follows: the study's own, else the library's."""
    return Program.parse(text, "meta") if text else meta_program()
