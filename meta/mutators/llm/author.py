"""The models of a study as writers of programs: one client per model for the whole study, one budget of calls for each
generation."""

from __future__ import annotations

from analysis.report.evidence import Evidence
from arena.drain import drained
from arena.executor import Progress
from arena.study import Study
from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.run_context import ModelConfig, RunContext, tapes
from meta.mutators.llm.calls import GenerationCalls, replies
from meta.mutators.llm.prompt import brief
from meta.mutators.llm.traces import gather
from meta.mutators.llm.write import OPERATORS, Writer
from programs.program import Program
from programs.shelf import meta_program


class Author:
    """Calls run in the study's process and are recorded in its own ledger segment; recorded calls are not made
    again."""

    def __init__(self, study: Study, children: int, progress: Progress) -> None:
        self.study = study
        self.children = children
        self.progress = progress
        config = study.config.staff
        recorded = tuple(study.state.calls)
        record, replay = tapes(study.folder)
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

    def writers(self, generation: int, facts: Evidence) -> list[Writer]:
        """Each operator with each model, for the children of a generation."""
        study, staff = self.study, self.study.config.staff
        calls = GenerationCalls(
            self.clients,
            generation=generation,
            most=replies(self.children),
            config=staff,
            note=lambda text: self.progress({"kind": "note", "text": text}),
            stopped=lambda: drained(study),
        )
        own = study.config.meta_program
        instruction = Program.parse(own[1], own[0]) if own else meta_program()
        briefing = brief(study, facts, gather(study, generation))
        return [Writer(name, model, calls, briefing, instruction) for model in staff.models for name in OPERATORS]


def author_of(study: Study, children: int, progress: Progress) -> Author | None:
    """For so many ``children`` a generation; None if the study has no models: then programs are written offline."""
    config = study.config.staff
    if not config.models:
        return None
    prices.require_ready(config)
    return Author(study, children, progress)


def first(config: ModelConfig, model: str) -> ModelConfig:
    """The configuration with one model preferred, and the others as fallbacks."""
    others = tuple(other for other in config.models if other != model)
    return config.model_copy(update={"models": (model, *others)})
