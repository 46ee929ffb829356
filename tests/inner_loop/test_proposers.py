"""Every proposer keeps the Protocol; what each of them is for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inner_loop.bench import Bench
from inner_loop.contracts import ProposerStart
from inner_loop.events import DecisionEvent, Experiment
from inner_loop.moves import after, changed, neighbours, others
from inner_loop.scripted import proposers
from inner_loop.scripted.proposers.elite import EliteProposer, parents
from inner_loop.scripted.proposers.local import LocalProposer
from inner_loop.scripted.proposers.queue import QueueProposer
from inner_loop.scripted.proposers.random import RandomProposer
from inner_loop.scripted.proposers.tpe import TpeProposer
from programs.charter import PROPOSERS, Charter
from programs.ideas import ProgramIdea, split
from tests.conformance import ProposerConformance
from tests.inner_loop.situations import seen, tried
from trainer.edits import Edit, Knob
from trainer.experiment import Trainer
from trainer.values.conditional import ConditionalEdit, read

LR, MOMENTUM, BATCH = Edit({"LR": 0.1}), Edit({"MOMENTUM": 0.9}), Edit({"BATCH": 8})
HISTORY = [
    (LR, "keep"),
    (Edit({"FAULT": "raise"}), "discard"),
    (MOMENTUM, "discard"),
    (BATCH, "discard"),
    (Edit({}, ("bias",)), "discard"),
]


@pytest.fixture(scope="module")
def bench(cached: Trainer) -> Bench:
    return tried(cached, HISTORY)


@pytest.mark.parametrize("name", PROPOSERS.built_in)
class TestEveryProposer(ProposerConformance):
    pass


def test_queue_serves_its_ideas_in_order_once(bench: Bench) -> None:
    ideas = [
        (ProgramIdea("first", "d1", 1, ()), Edit({"LR": 0.3})),
        (ProgramIdea("as it is", "d2", 2, ()), LR),
        (ProgramIdea("last", "d3", 3, ()), Edit({"INIT": "zero"})),
    ]
    queue, rng = QueueProposer([(idea, ConditionalEdit(edit)) for idea, edit in ideas]), np.random.default_rng(1)
    served = [queue.propose(seen(bench), rng) for _ in range(3)]
    assert [p.directive_ids if p else None for p in served] == [("d1",), ("d3",), None]


def test_queue_keeps_an_idea_until_its_condition_holds(bench: Bench) -> None:
    space = bench.task.edits
    words = [("lr==0.1", "lr=*3"), ("lr!=0.1", "init=zero"), ("momentum=0.5",)]
    ideas = []
    for number, each in enumerate(words):
        terms, conditions = split(each)
        asked = read(space, terms, conditions)
        assert asked is not None
        ideas.append((ProgramIdea(" ".join(each), f"d{number}", number, terms, conditions), asked))
    queue, rng = QueueProposer(ideas), np.random.default_rng(1)
    assert seen(bench).parent.config["LR"] == 0.1
    first, second, third = (queue.propose(seen(bench), rng) for _ in range(3))
    assert first and first.edit.set == {"LR": pytest.approx(0.3)} and first.directive_ids == ("d0",)
    assert second and second.edit == Edit({"MOMENTUM": 0.5}) and third is None
    there = replace(seen(bench), parent=bench.baseline)  # where the rate is another one
    late = queue.propose(there, rng)
    assert late and late.directive_ids == ("d1",) and queue.propose(there, rng) is None


def test_elite_crosses_and_changes_the_best_scripts(bench: Bench) -> None:
    situation, rng = seen(bench), np.random.default_rng(2)
    best = parents(situation)
    metrics = [record.metric for record in best if record.metric is not None]
    assert len(best) == 4 and metrics == sorted(metrics, key=lambda metric: situation.sign * metric)
    every = [r.metric for r in situation.history if r.ok and r.full and r.metric is not None]
    assert situation.sign * metrics[0] == min(situation.sign * metric for metric in every)
    proposer = EliteProposer(ProposerStart(directive_ids=("d1",)))
    drawn = [proposer.propose(situation, rng) for _ in range(60)]
    wanted = [situation.parent.config | dict(changed(p.edit)) for p in drawn if p]
    apart = [min(sum(r.config[k] != config[k] for k in config) for r in best) for config in wanted]
    assert len(wanted) > 50 and max(apart) <= 4  # three settings, and a patch of the kept script that stays


def test_elite_parents_rank_by_the_mean_over_seeds(bench: Bench) -> None:
    situation = seen(bench)
    best, second = parents(situation)[:2]
    lucky = replace(second, metric=(best.metric or 0.0) - situation.sign, replicate=1)
    unlucky = replace(second, metric=(second.metric or 0.0) + 9 * situation.sign,
                      replicate=2)  # fmt: skip
    ranked = parents(replace(situation, history=[*situation.history, lucky, unlucky]))
    assert ranked[0].source == best.source and second.source not in [record.source for record in ranked]


def test_elite_waits_for_a_second_script(cached: Trainer) -> None:
    situation, rng, failed = seen(tried(cached, [(HISTORY[1][0], "discard")])), np.random.default_rng(1), HISTORY[1][0]
    assert [record.number for record in parents(situation)] == [0]
    assert EliteProposer().propose(situation, rng) is None
    bench = tried(cached, [(failed, "discard"), (BATCH, "discard")])
    for charter in ({"focus": ["optimizer"]}, {"avoid_failures": True}):
        situation = seen(bench, **charter)
        drawn = [proposal for _ in range(60) if (proposal := EliteProposer().propose(situation, rng))]
        touched = {name for proposal in drawn for name, _ in changed(proposal.edit)}
        assert drawn and touched <= {knob.name for knob in situation.knobs}
        assert not any(situation.was_tried(proposal.edit) for proposal in drawn)
        assert "focus" in charter or not any(set(changed(failed)) <= set(changed(p.edit)) for p in drawn)


def test_random_draws_every_knob_alike(bench: Bench) -> None:
    rng, proposer, situation = np.random.default_rng(1), RandomProposer(), seen(bench, no_repeat=False)
    drawn = [proposer.propose(situation, rng) for _ in range(700)]
    counts = Counter(name for p in drawn if p for name, _ in changed(p.edit))
    assert set(counts) == {knob.name for knob in situation.knobs}
    assert max(counts.values()) < 1.6 * min(counts.values())
    values = {p.edit.set["LR"] for p in drawn if p and "LR" in p.edit.set}
    assert values == {0.001, 0.003, 0.01, 0.03, 0.3, 1.0}


def test_local_steps_one_rung_and_rather_on_where_it_helped(bench: Bench) -> None:
    rng, proposer, situation = np.random.default_rng(1), LocalProposer(), seen(bench)
    drawn = [proposer.propose(situation, rng) for _ in range(300)]
    values = Counter(p.edit.set["LR"] for p in drawn if p and "LR" in p.edit.set)
    assert set(values) == {0.03, 0.3}
    assert values[0.3] > 2 * values[0.03]
    tried_before = sum(p is not None and p.edit == BATCH for p in drawn)
    assert tried_before < 10


def test_tpe_learns_from_this_run(cached: Trainer) -> None:
    """With a clear slope in its history it proposes the better half of a ladder more often."""
    rates = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    bench = tried(cached, [(Edit({"LR": lr}), "discard") for lr in rates if lr != 0.01] * 2)
    situation, rng, proposer = seen(bench), np.random.default_rng(1), TpeProposer()
    drawn = [proposer.propose(situation, rng) for _ in range(60)]
    values = [p.edit.set["LR"] for p in drawn if p and "LR" in p.edit.set]
    assert sum(float(value) >= 0.1 for value in values) > 0.7 * len(values)


def test_tpe_depends_on_nothing_but_the_history(cached: Trainer) -> None:
    """What it keeps of earlier proposals changes none, also where a worse gain changes what a failure counts for."""
    steps = [(Edit({"LR": lr}), "discard") for lr in (0.03, 0.1, 0.3)]
    bench, kept = tried(cached, [*HISTORY, *steps, (LR, "discard"), (BATCH, "discard")]), TpeProposer()
    whole = seen(bench)
    for seed, count in enumerate((6, 7, 7, 8, 9, 10, 11, 8)):  # the last one: another run's history, as it were
        situation = replace(whole, history=whole.history[:count])
        fresh = TpeProposer().propose(situation, np.random.default_rng(seed))
        assert kept.propose(situation, np.random.default_rng(seed)) == fresh is not None


def test_an_exhausted_queue_leaves_its_share_to_the_others(bench: Bench) -> None:
    rng, situation = np.random.default_rng(1), seen(bench)
    mixed = proposers.make(
        Charter.model_validate({"proposers": {"queue": 1000.0, "local": 1.0}}),
        [(ProgramIdea("one", "d1", 1, ()), ConditionalEdit(Edit({"INIT": "zero"})))],
    )
    names = [p.proposer for p in (mixed.propose(situation, rng) for _ in range(10)) if p]
    assert names[0] == "queue"
    assert set(names[1:]) == {"local"}
    ideas = [
        (ProgramIdea("slower", "d1", 1, ()), ConditionalEdit(Edit({"LR": 0.03}))),
        (ProgramIdea("zero", "d2", 2, ()), ConditionalEdit(Edit({"INIT": "zero"}))),
    ]
    alone = proposers.make(Charter.model_validate({"proposers": {"queue": 1.0}}), ideas, ("d0",))
    names = [p.proposer for p in (alone.propose(situation, rng) for _ in range(5)) if p]
    assert names == ["queue", "queue", "random", "random", "random"]


def test_doubted_queue_is_followed_less_as_its_ideas_fail(bench: Bench) -> None:
    ideas = [(ProgramIdea(f"n{n}", f"d{n}", n, ()), ConditionalEdit(Edit({"LR": 0.001 * n}))) for n in range(1, 300)]
    charter = Charter.model_validate({"proposers": {"queue": 1.0}, "doubt_ideas": True})

    def share(decisions: list[str]) -> float:
        here = seen(bench)
        history = [decided(here.history[0], decision, proposer="queue") for decision in decisions]
        situation, rng = replace(here, history=history), np.random.default_rng(4)
        fresh = proposers.make(charter, ideas)
        return sum(p.proposer == "queue" for p in (fresh.propose(situation, rng) for _ in range(200)) if p) / 200

    assert share([]) == share(["keep"] * 4) == 1.0
    assert abs(share(["discard"]) - 0.2) < 0.09 and abs(share(["discard"] * 9) - 0.08) < 0.06
    assert abs(share(["keep", *["discard"] * 3]) - 0.54) < 0.1


def decided(record: Experiment, decision: str, **changes: Any) -> Experiment:
    event = DecisionEvent(run_id=record.run_id, experiment_id=record.experiment_id, decision=decision)
    return replace(record, decided=event, **changes)


def test_a_doubted_queue_counts_its_own_program_alone(bench: Bench) -> None:
    ideas = [(ProgramIdea(f"n{n}", f"d{n}", n, ()), ConditionalEdit(Edit({"LR": 0.001 * n}))) for n in range(1, 300)]
    charter = Charter.model_validate({"proposers": {"queue": 1.0}, "doubt_ideas": True})
    here, rng = seen(bench), np.random.default_rng(4)
    failed = [decided(here.history[0], "discard", proposer="queue", program_id="theirs")] * 9
    mine = proposers.make(charter, ideas, (), "mine")
    drawn = [mine.propose(replace(here, history=failed), rng) for _ in range(50)]
    assert all(proposal and proposal.proposer == "queue" for proposal in drawn)
    theirs = proposers.make(charter, ideas, (), "theirs")
    assert not all(p and p.proposer == "queue" for p in (theirs.propose(replace(here, history=failed), rng),) * 50)


def test_queue_proposes_an_undecided_idea_once_more_later(bench: Bench) -> None:
    ideas = [
        (ProgramIdea("unclear", "d1", 1, ()), ConditionalEdit(Edit({"INIT": "zero"}))),
        (ProgramIdea("in vain", "d2", 2, ()), ConditionalEdit(Edit({"MOMENTUM": 0.5}))),
        (ProgramIdea("later", "d3", 3, ()), ConditionalEdit(Edit({"BATCH": 16}))),
    ]
    queue, rng, here = QueueProposer(ideas, "mine"), np.random.default_rng(1), seen(bench)
    history = list(here.history)

    def tried(idea: str, decision: str, program_id: str | None = "mine") -> None:
        facts = {"number": len(history), "program_id": program_id, "directive_ids": (idea,), "proposer": "queue"}
        history.append(decided(history[0], decision, parent_number=0, **facts))

    def served(at: int) -> tuple[str, ...] | None:
        proposal = queue.propose(replace(here, history=history, parent=history[at]), rng)
        return proposal and proposal.directive_ids

    assert served(0) == ("d1",) and served(0) == ("d2",)
    tried("d1", "undecided")
    tried("d2", "discard")
    tried("d2", "undecided", "theirs")
    assert served(1) == ("d3",), "all other ideas come first"
    assert served(0) is None, "not on the same parent"
    assert served(1) == ("d1",)
    tried("d1", "undecided")
    assert served(1) is None, "once"


def test_moves_know_ladders_choices_and_patches() -> None:
    ladder = Knob("LR", "float", (0.1, 0.2, 0.4))
    assert [move.value for move in neighbours(ladder, {"LR": 0.2})] == [0.1, 0.4]
    assert [move.value for move in neighbours(ladder, {"LR": 0.3})] == [0.2, 0.4]
    assert [move.value for move in neighbours(ladder, {"LR": 0.05})] == [0.1]
    patch = Knob("bias", "patch", (False, True))
    assert [move.edit for move in others(patch, {"bias": False})] == [Edit({}, ("bias",))]
    assert others(patch, {"bias": True}) == []
    assert others(ladder, {}) == []
    assert after({"LR": 0.1}, Edit({"LR": 0.1})) == after({"LR": 0.1}, Edit())
