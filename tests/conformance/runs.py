"""The suites for the parts of a run: keep rules, proposers, researchers, scorers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest

from bench.simulated_tasks import COST, random_law, simulated_task
from inner_loop.bench import Bench
from inner_loop.contracts import ProposerStart, Situation
from inner_loop.events import DecisionEvent, Event, Experiment, Proposal
from inner_loop.researchers.description import describe
from inner_loop.run import run
from inner_loop.run_context import RunContext
from inner_loop.scripted import keep, proposers
from inner_loop.scripted.surroundings import Surroundings
from inner_loop.scripted.trials import prepare_rule, verdict_of
from programs.charter import PROPOSERS, Charter, Keep
from programs.ideas import ProgramIdea
from programs.program import Program
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.outcome import Trust
from trainer.scoring import InvalidPredictions, Score, Scorer, scorer_of
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import ScoreSection
from trainer.values.conditional import ConditionalEdit

STREAMS = Streams.from_seed(7)
LAW = random_law(1, noise=0.002, trajectory=0.0, misleading=0.0, crash_rate=0.0)
PROGRAM = Program.parse("# Research\n\nMake it better.\n")


def edit_of(*changes: tuple[str, Any]) -> Edit:
    constants = {knob: value for knob, value in changes if not isinstance(value, bool)}
    return Edit(constants, tuple(knob for knob, value in changes if isinstance(value, bool)))


_RISING = sorted((change for change in LAW.effects if change not in LAW.crashes), key=lambda c: LAW.effects[c])
_BEST = sorted(dict(_RISING).items(), key=lambda change: -LAW.effects[change])  # each knob with its best value
GOOD, BAD, FAILING = edit_of(*_BEST[:3]), edit_of(_RISING[0]), edit_of(min(LAW.crashes, key=str))
IDEAS = tuple((ProgramIdea(f"idea {n}", f"d{n}", n, ()), ConditionalEdit(edit_of(_BEST[3 + n]))) for n in range(3))


class Conformance:
    """``part``: the name in the registry of the part that a subclass tests."""

    part: str

    @pytest.fixture
    def name(self) -> str:
        return self.part

    @pytest.fixture(scope="class")
    @classmethod
    def trainer(cls, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
        """Of a simulated task, on which an experiment takes microseconds; the same one has the same result."""
        folder = tmp_path_factory.mktemp("conformance")
        task = Task.load(simulated_task(LAW, folder / "task"))
        return Trainer(task, DataStore(task, STREAMS, folder / "splits"), fixed_steps=True)


def open_bench(trainer: Trainer) -> Bench:
    """A bench with its baseline trained, and a budget of 40 full experiments."""
    bench = Bench(trainer, run_id="r0", run_seed=3, streams=STREAMS, budget_seconds=40 * COST, emit=lambda event: None)
    bench.start()
    return bench


class KeepRuleConformance(Conformance):
    """It keeps what is better, on edits with effects of many times the noise, and trains nothing itself."""

    def test_better_is_kept_and_worse_is_not(self, trainer: Trainer, name: str) -> None:
        """Candidates stay undecided; the further seeds that the rule asks for are decided."""
        bench, rule = open_bench(trainer), keep.make(Keep(rule=name))
        prepare_rule(rule, bench)
        assert rule.name == name
        for edit, kept in ((GOOD, True), (BAD, False), (FAILING, False)):
            candidate = bench.experiment(Proposal(edit))
            verdict = verdict_of(rule, bench, candidate, bench.baseline)
            assert verdict.keep is kept and verdict.reason
            assert (verdict.gain or 0) > 0 or not kept
            assert candidate.decision == ""
        assert all(record.decision for record in bench.history if record.replicate > 0)
        again = verdict_of(rule, bench, bench.experiment(Proposal(GOOD)), bench.baseline, earn=10.0)
        assert not again.keep, "a minimum gain counts"


class ProposerConformance(Conformance):
    """It is reproducible and spends nothing, by itself and in a mixture, as a program's front matter asks for it."""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, trainer: Trainer) -> Bench:
        """With some history: an edit that was kept, one that failed, others that were dropped."""
        bench = open_bench(trainer)
        for edit in (GOOD, FAILING, BAD, *map(edit_of, _BEST[4:7])):
            bench.decide(bench.experiment(Proposal(edit)), "keep" if edit is GOOD else "discard", "for the test")
        return bench

    def test_it_proposes_by_itself_and_signs(self, bench: Bench, name: str) -> None:
        """Without the mixture, whose other proposers answer for one that has nothing to offer."""
        part, rng = PROPOSERS.get(name)(ProposerStart(IDEAS, ("d0",))), np.random.default_rng(3)
        here = situation(bench, no_repeat=False)
        proposals = [proposal for _ in range(12) if (proposal := part.propose(here, rng)) is not None]
        assert part.name == name and proposals, "it has nothing to propose after six experiments"
        assert all(proposal.proposer == name and here.allowed(proposal.edit) for proposal in proposals)

    @pytest.mark.parametrize("charter", [{"no_repeat": False}, {"avoid_failures": True}, {"focus": ["optimizer"]}])
    def test_proposals_are_allowed_reproducible_and_free(
        self, bench: Bench, name: str, charter: dict[str, Any]
    ) -> None:
        """They come from the generator alone. Two patches need not apply together; the researcher skips such."""
        mixed = Charter.model_validate({"proposers": {name: 1.0}})
        first, second = (proposers.make(mixed, IDEAS, ("d0",)) for _ in range(2))
        here, spent = situation(bench, **charter), (bench.remaining, len(bench.history))
        one, other = np.random.default_rng(5), np.random.default_rng(5)
        for _ in range(12):
            proposal = first.propose(here, one)
            assert proposal == second.propose(here, other)
            assert proposal is not None and proposal.directive_ids and proposal.proposer in PROPOSERS.names
            assert here.allowed(proposal.edit)
            if len(proposal.edit.apply) < 2:
                assert bench.source_of(proposal.edit, here.parent) != here.parent.source
        assert (bench.remaining, len(bench.history)) == spent
        assert one.random() == other.random()
        assert second.propose(replace(here, allowed=lambda edit: False), one) is None, "nothing is left to try"


def situation(bench: Bench, **charter: object) -> Situation:
    return Surroundings(Charter.model_validate(charter), bench.task.edits).situation(bench, bench.head)


class ResearcherConformance(Conformance):
    """It stays within its budget and decides what it tries. A subclass overrides the fixture ``context`` where the
    researcher needs more than program, task and seed."""

    @pytest.fixture
    def context(self) -> RunContext:
        return RunContext(run_id="r0")

    @pytest.mark.parametrize(("most", "state"), [(99, "finished"), (3, "stopped")])
    def test_run_keeps_its_budget_repeats_and_stops_when_asked(
        self, trainer: Trainer, name: str, context: RunContext, most: int, state: str
    ) -> None:
        runs: list[list[Event]] = [[], []]
        for events in runs:
            result = run(
                PROGRAM, trainer, run_id="r0", run_seed=3, streams=STREAMS, budget_seconds=8 * COST, researcher=name,
                emit=events.append, folder=None, context=context, should_stop=partial(has_tried, events, most),
            )  # fmt: skip
            assert result.state == state and not result.problem
            assert result.spent <= 8 * COST + 1e-9 and 1 < result.experiments == len(tried(events)) <= most
            decided = [event.experiment_id for event in events if isinstance(event, DecisionEvent)]
            assert {*decided} <= {event.experiment_id for event in tried(events)} and len({*decided}) == len(decided)
        first, again = ([(event.edit, event.seed, event.metric) for event in tried(events)] for events in runs)
        assert first == again

    def test_its_description_lets_it_start(self, trainer: Trainer, name: str, context: RunContext) -> None:
        description, config = describe(name), context.config
        description.preflight(description.settle(config, context.sandboxed), context.sandboxed)
        price, facts = description.cost_line(trainer.task, config, 8)
        assert isinstance(price + description.asks_consent(config, context.sandboxed), str) and isinstance(facts, dict)


def tried(events: Sequence[Event]) -> list[Experiment]:
    return [event for event in events if isinstance(event, Experiment)]


def has_tried(events: Sequence[Event], count: int) -> bool:
    return len(tried(events)) >= count


@dataclass
class GivenReferee:
    """A referee of a candidate whose answers are given: what it printed, and logits by ``answer(inputs)``.

    ``split`` has the hidden split, the public one and the task's files.
    """

    split: Path
    log: str = ""
    answer: Callable[[Any], Any] | None = None
    verifying: bool = False

    def __post_init__(self) -> None:
        self.task_folder = self.public_split = self.split
        self.checked = False

    def rng(self, label: str) -> Any:
        return np.random.default_rng(len(label))

    def predict(self, inputs: Any) -> Any:
        if self.answer is None:
            raise InvalidPredictions("this candidate predicts nothing")
        return np.asarray(self.answer(inputs), np.float32)

    def converse(self, *_: Any, **__: Any) -> Any:
        raise InvalidPredictions("this candidate does not answer")


class ScorerConformance(Conformance):
    """It says what it needs, and the same answers have the same score.

    ``settings``: keys of ``[score]`` beside the kind. A subclass has to define the fixtures ``good`` and ``bad``, a
    GivenReferee each: of a candidate that answers well, and of one that answers worse.
    """

    settings: ClassVar[dict[str, Any]] = {}
    lower_is_better = True

    @pytest.fixture
    def scorer(self, name: str) -> Scorer:
        return scorer_of(ScoreSection.model_validate({"kind": name, **self.settings}).settings())

    def test_scores_are_numbers_and_better_for_the_better_candidate(
        self, scorer: Scorer, good: GivenReferee, bad: GivenReferee
    ) -> None:
        assert scorer.per_position in (True, False) and scorer.needs_checkpoint in (True, False)
        score = scorer.score(good)
        assert isinstance(score, Score) and math.isfinite(score.metric) and score.trust in get_args(Trust)
        assert scorer.score(good) == score
        assert (score.metric < scorer.score(bad).metric) is self.lower_is_better
        with pytest.raises(InvalidPredictions):
            scorer.score(GivenReferee(good.split))

    def test_it_claims_no_more_trust_than_the_stream_gives(self, scorer: Scorer, good: GivenReferee) -> None:
        """The trainer would not believe it."""
        assert good.verifying or scorer.score(good).trust in ("scored", "self-reported", "unverified")
