"""What a run expects of its parts: a keep rule keeps what is better and buys no more than it announces, a proposer is
reproducible and spends nothing, a researcher stays within its budget and decides what it tries."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inner_loop import keep, proposers
from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.contracts import KeepRule, Proposer, ProposerStart, Situation
from inner_loop.events import DecisionEvent, Event, ExperimentEvent
from inner_loop.result import RunResult
from inner_loop.run import run
from inner_loop.run_context import RunContext
from inner_loop.surroundings import Surroundings
from meta.conformance.base import BAD, FAILING, GOOD, STREAMS, Conformance, changes, edit_of, open_bench
from programs.charter import PROPOSERS, Charter, Keep
from programs.ideas import ProgramIdea
from programs.program import Program
from trainer.experiment import Trainer
from trainer.laws.planted import COST
from trainer.values.conditional import ConditionalEdit

if TYPE_CHECKING:
    from pydantic import JsonValue

EXPERIMENTS = 8
TEXT = "# Research\n\nMake it better.\n"
IDEAS = tuple(
    (ProgramIdea(f"idea {n}", f"d{n}", n, ()), ConditionalEdit(edit_of([change])))
    for n, change in enumerate(changes(1, 6)[3:])
)
NEARLY = tuple(edit_of([change]) for change in changes(1, 7)[4:])
TRIED = ((GOOD, "keep"), (FAILING, "discard"), (BAD, "discard"), *((edit, "discard") for edit in NEARLY))


class KeepRuleConformance(Conformance):
    """On edits whose effects are many times the noise of a training."""

    @pytest.fixture
    def rule(self, name: str) -> KeepRule:
        return keep.make(Keep(rule=name), Citations(Program.parse(TEXT)))

    def test_better_is_kept_and_worse_is_not(self, trainer: Trainer, rule: KeepRule, name: str) -> None:
        """Candidates stay undecided; what the rule itself buys is decided."""
        bench, _ = open_bench(trainer)
        rule.prepare(bench)
        assert rule.name == name
        for edit, kept in ((GOOD, True), (BAD, False), (FAILING, False)):
            candidate = bench.experiment(edit)
            before = bench.remaining
            verdict = rule.judge(bench, candidate, bench.baseline)
            assert verdict.keep is kept and verdict.reason
            assert (verdict.gain or 0) > 0 or not kept
            assert before - bench.remaining <= rule.extra * COST + 1e-9
            assert candidate.decision == ""
        assert all(record.decision for record in bench.history if record.replicate > 0)

    def test_a_minimum_gain_raises_the_bar(self, trainer: Trainer, rule: KeepRule) -> None:
        bench, _ = open_bench(trainer)
        rule.prepare(bench)
        assert not rule.judge(bench, bench.experiment(GOOD), bench.baseline, earn=10.0).keep


class ProposerConformance(Conformance):
    """Of a proposer by itself and in a mixture, as a program's front matter asks for it."""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, trainer: Trainer) -> Bench:
        """With some history: an edit that was kept, one that failed, others that were dropped."""
        bench, _ = open_bench(trainer)
        for edit, decision in TRIED:
            bench.decide(bench.experiment(edit), decision, "for the test")
        return bench

    def test_it_has_its_name(self, name: str) -> None:
        assert PROPOSERS.get(name)(ProposerStart(IDEAS, ("d0",))).name == name

    def test_it_proposes_by_itself_and_signs(self, bench: Bench, name: str) -> None:
        """Without the mixture, whose other proposers answer for one that has nothing to offer."""
        part, rng = PROPOSERS.get(name)(ProposerStart(IDEAS, ("d0",))), np.random.default_rng(3)
        here = situation(bench, no_repeat=False)
        proposals = [proposal for _ in range(12) if (proposal := part.propose(here, rng)) is not None]
        assert proposals, "it has nothing to propose after six experiments"
        assert all(proposal.proposer == name and here.allowed(proposal.edit) for proposal in proposals)

    @pytest.mark.parametrize(
        "charter", [{"no_repeat": False}, {"avoid_failures": True}, {"focus": ["optimizer"]}], ids=str
    )
    def test_proposals_are_allowed_reproducible_and_free(
        self, bench: Bench, name: str, charter: dict[str, JsonValue]
    ) -> None:
        """They come from the generator alone. Two patches need not apply together; the researcher skips such."""
        here = situation(bench, **charter)
        spent, length = bench.remaining, len(bench.history)
        one, other = np.random.default_rng(5), np.random.default_rng(5)
        first, second = mixture(name), mixture(name)
        for _ in range(12):
            proposal = first.propose(here, one)
            assert proposal == second.propose(here, other)
            assert proposal is not None and proposal.because and proposal.proposer in PROPOSERS.names
            assert here.allowed(proposal.edit)
            if len(proposal.edit.apply) < 2:
                assert bench.source_of(proposal.edit, here.parent) != here.parent.source
        assert (bench.remaining, len(bench.history)) == (spent, length)
        assert one.random() == other.random()

    def test_none_means_that_nothing_is_left_to_try(self, bench: Bench, name: str) -> None:
        nothing = replace(situation(bench), allowed=lambda edit: False)
        assert mixture(name).propose(nothing, np.random.default_rng(1)) is None


def mixture(name: str) -> Proposer:
    return proposers.make(Charter.model_validate({"proposers": {name: 1.0}}), IDEAS, ("d0",))


def situation(bench: Bench, **charter: object) -> Situation:
    return Surroundings(Charter.model_validate(charter), bench.task.edits).situation(bench, bench.head)


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
