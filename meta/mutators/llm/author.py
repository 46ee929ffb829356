"""The models of a study as writers of programs: one client per model for the whole study, one budget of calls for each
generation."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from analysis.evidence.task_evidence import Evidence
from arena.study.stop import drained
from arena.study.study import Study
from arena.work.executor import Progress
from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.run_context import RunContext, tapes
from meta.mutators.llm.calls import GenerationCalls, count_replies
from meta.mutators.llm.prompt import write_briefing
from meta.mutators.llm.traces import gather_traces
from meta.mutators.llm.write import OPERATORS, Writer
from programs.program import Program
from programs.shelf import meta_program


class Author:
    """Calls run in the study's process and are recorded in its own ledger segment; recorded calls are not made
    again. ``children``: how many programs a generation has at most."""

    def __init__(self, study: Study, children: int, progress: Progress) -> None:
        self.study = study
        self.children = children
        self.progress = progress

    def writers(self, generation: int, evidence: Evidence) -> list[Writer]:
        """Each operator with each model, for the children of a generation; none in a study without models. Raises
        UsageError or CredentialMissing if a model cannot be called."""
        study, models = self.study, self.study.config.llm
        if not models.models:
            return []
        calls = GenerationCalls(
            self.clients,
            generation=generation,
            most=count_replies(self.children),
            config=models,
            note=lambda text: self.progress({"kind": "note", "text": text}),
            stopped=lambda: drained(study),
        )
        users = study.config.meta_program
        instruction = Program.parse(users[1], users[0]) if users else meta_program()
        briefing = write_briefing(study, evidence, gather_traces(study, generation))
        return [Writer(name, model, calls, briefing, instruction) for model in models.models for name in OPERATORS]

    @cached_property
    def clients(self) -> dict[str, ModelClient]:
        """By their preferred model; opened for the first generation."""
        study, models = self.study, self.study.config.llm
        prices.require_ready(models)
        record, replay = tapes(study.folder)
        context = RunContext(
            config=models,
            study=study.folder,
            recorded=tuple(study.state.calls),
            emit=study.record,
            should_stop=lambda: (study.folder / "stop").exists(),
            record=record,
            replay=replay,
        )
        seed = study.streams.seed("search", "calls")
        return {
            model: ModelClient(replace(context, config=models.model_copy(update={"models": order})), seed)
            for model in models.models
            for order in [(model, *(other for other in models.models if other != model))]  # the others are fallbacks
        }
