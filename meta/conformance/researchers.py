"""What a study expects of a researcher: it stays within the budget, decides what it tries, and is reproducible."""

from __future__ import annotations

from collections import Counter

import pytest

from inner_loop.events import DecisionEvent, Event, ExperimentEvent
from inner_loop.result import RunResult
from inner_loop.run import run
from inner_loop.run_context import RunContext
from meta.conformance.base import STREAMS, Conformance
from programs.program import Program
from trainer.experiment import Trainer
from trainer.planted import COST

EXPERIMENTS = 8
TEXT = "# Research\n\nMake it better.\n"


class ResearcherConformance(Conformance):
    """``context``: what the researcher needs beside program, task and seed; override the fixture where it needs
    more."""

    @pytest.fixture
    def context(self) -> RunContext:
        return RunContext(run_id="r0")

    def test_a_run_ends_within_its_budget(self, trainer: Trainer, name: str, context: RunContext) -> None:
        result, events = played(trainer, name, context)
        assert result.state == "finished" and not result.problem
        assert result.spent <= EXPERIMENTS * COST + 1e-9
        assert result.experiments == sum(isinstance(event, ExperimentEvent) for event in events) > 1

    def test_each_experiment_is_decided_at_most_once(self, trainer: Trainer, name: str, context: RunContext) -> None:
        _, events = played(trainer, name, context)
        known = {event.experiment_id for event in events if isinstance(event, ExperimentEvent)}
        decided = Counter(event.experiment_id for event in events if isinstance(event, DecisionEvent))
        assert decided.keys() <= known and set(decided.values()) == {1}

    def test_a_run_is_reproducible(self, trainer: Trainer, name: str, context: RunContext) -> None:
        first, second = (
            [(e.edit, e.seed, e.metric) for e in played(trainer, name, context)[1] if isinstance(e, ExperimentEvent)]
            for _ in range(2)
        )
        assert first == second

    def test_a_stop_request_ends_the_run(self, trainer: Trainer, name: str, context: RunContext) -> None:
        result, _ = played(trainer, name, context, stop_after=3)
        assert (result.state, result.experiments) == ("stopped", 3)


def played(
    trainer: Trainer, name: str, context: RunContext, stop_after: int = EXPERIMENTS + 1
) -> tuple[RunResult, list[Event]]:
    events: list[Event] = []
    result = run(
        Program.parse(TEXT),
        trainer,
        run_id="r0",
        run_seed=3,
        streams=STREAMS,
        budget_seconds=EXPERIMENTS * COST,
        researcher=name,
        emit=events.append,
        folder=None,
        context=context,
        should_stop=lambda: sum(isinstance(event, ExperimentEvent) for event in events) >= stop_after,
    )
    return result, events
