"""The models of a study as mutators: one client per model for the whole study, one call budget per generation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.report.evidence import Evidence
from arena.drain import drained
from arena.executor import Progress
from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.run_context import ModelConfig, RunContext
from meta.archive import Archive
from meta.mutators.bandit import Bandit, arm_histories
from meta.mutators.base import ParentProgram
from meta.mutators.llm import bill
from meta.mutators.llm.briefing import MutationBriefing, brief
from meta.mutators.llm.generation_calls import GenerationCalls
from meta.mutators.llm.kinds import offered
from meta.mutators.llm.mutator import LlmMutator
from meta.mutators.llm.reflection import reflect
from meta.mutators.llm.trace_access import trace_access_of
from meta.mutators.llm.traces import Trace, gather
from meta.mutators.mix import Mix
from meta.novelty import Novelty
from programs.program import Program
from programs.shelf import meta_program

if TYPE_CHECKING:
    from arena.study import Study
from arena.task_study import tasks_of

PARENTS = 2  # programs about which a model reflects
RECORD, REPLAY = "METALOOP_RECORD", "METALOOP_REPLAY"  # folders of a command, not of its study


class Author:
    """Calls run in the study's process and are recorded in its own ledger segment; recorded calls are not made
    again."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self.study = study
        self.progress = progress
        config = study.config.staff
        recorded = tuple(study.state.calls)
        self.instruction = instruction(study.config.meta_program)
        record, replay = (Path(path) if (path := os.environ.get(name)) else None for name in (RECORD, REPLAY))
        seed = study.streams.seed("search", "calls")
        self.clients = {
            model: ModelClient(
                RunContext(
                    config=first(config, model),
                    study=study.folder,
                    recorded=recorded,
                    emit=study.record,
                    should_stop=lambda: (study.folder / "stop").exists(),
                    record=record,
                    replay=replay,
                ),
                seed,
            )
            for model in config.models
        }

    def chooser(self, mix: Mix, generation: int, facts: Evidence, novelty: Novelty, archive: Archive) -> Bandit:
        """The operators of a generation, offline and with models, with the results of their children so far.
        ``novelty``: what the programs of the study do. ``archive``: the possible parents, about which a model reflects
        first where the study has it so."""
        config, plan = self.study.config, self.study.config.plan
        calls = GenerationCalls(
            self.clients,
            generation=generation,
            most=bill.replies(plan["children"]) + config.staff.reflect,
            reply_tokens=config.staff.reply_tokens,
            note=lambda text: self.progress({"kind": "note", "text": text}),
            stopped=lambda: drained(self.study),
            context_tokens=config.staff.context_tokens,
        )
        access = trace_access_of(config.staff)
        reflects = config.staff.reflect
        traces = gather(self.study, generation, facts) if access.how != "none" or reflects else ()
        shown = traces if access.how != "none" else ()
        briefing = brief(self.study, self.instruction, access, shown, novelty)
        if reflects:
            self._reflect(calls, briefing, archive, facts, traces, generation)
        kinds = offered(config.researcher)
        asking = [LlmMutator(k, model, calls, briefing) for model in config.staff.models for k in kinds]
        race = plan["child_runs"] * sum(on.cost.run for on in tasks_of(self.study))
        arms = arm_histories(self.study.state.mutations, facts.mutations)
        return Bandit(mix, asking, arms, race, bill.usual_usd(config.staff))

    def _reflect(
        self,
        calls: GenerationCalls,
        briefing: MutationBriefing,
        archive: Archive,
        facts: Evidence,
        traces: Sequence[Trace],
        generation: int,
    ) -> None:
        """Show all writers the notes of this generation. They are recorded once: an interrupted generation repeats the
        call from its recorded reply."""
        briefing.reflections[:] = [each for each in briefing.reflections if each.generation < generation]
        parents = [ParentProgram(archive.programs[score.program_id], score) for score in archive.scores[:PARENTS]]
        event = reflect(calls, self.study.config.staff.models[0], briefing, parents, facts, traces, generation)
        if generation not in self.study.state.reflections and event.model is not None:
            self.study.record(event)
        briefing.reflections.append(event)


def author_of(study: Study, progress: Progress) -> Author | None:
    """None if the study has no models: then programs are written offline."""
    config = study.config.staff
    if not config.models:
        return None
    if not os.environ.get(REPLAY):
        prices.require_ready(config)
    return Author(study, progress)


def first(config: ModelConfig, model: str) -> ModelConfig:
    """The configuration with one model preferred, and the others as fallbacks."""
    others = tuple(other for other in config.models if other != model)
    return config.model_copy(update={"models": (model, *others)})


def instruction(text: str | None) -> Program:
    """The instruction for writing programs: the study's own, else the library's."""
    return Program.parse(text, "meta") if text else meta_program()
