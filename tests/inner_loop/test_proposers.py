"""Every proposer keeps the Protocol; what each of them is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inner_loop.bench import Bench
from inner_loop.contracts import ProposerStart, Situation
from inner_loop.events import DecisionEvent, Experiment, Proposal
from inner_loop.moves import after, changed, neighbours, others
from inner_loop.scripted import proposers
from inner_loop.scripted.proposers.elite import CROSSOVER, MOST_CHANGED, EliteProposer, elite_edit, parents
from inner_loop.scripted.proposers.local import LocalProposer
from inner_loop.scripted.proposers.queue import QueueProposer
from inner_loop.scripted.proposers.random import RandomProposer
from inner_loop.scripted.proposers.tpe import TpeProposer
from inner_loop.scripted.surroundings import Surroundings
from programs.charter import PROPOSERS, Charter
from programs.ideas import ProgramIdea, split
from tests.conformance import ProposerConformance
from tests.inner_loop.play import open_bench
from trainer.edits import Edit, EditSpace, Knob
from trainer.experiment import Trainer
from trainer.values.conditional import ConditionalEdit, read

LR, MOMENTUM, BATCH = Edit({"LR": 0.1}), Edit({"MOMENTUM": 0.9}), Edit({"BATCH": 8})
FAILS, BIAS = Edit({"FAULT": "raise"}), Edit({}, ("bias",))
HISTORY = [(LR, "keep"), *((edit, "discard") for edit in (FAILS, MOMENTUM, BATCH, BIAS))]


def tried(trainer: Trainer, steps: Sequence[tuple[Edit, str]]) -> Bench:
    """A bench on which these edits of the head were tried in full and decided as said."""
    bench, _ = open_bench(trainer, 40)
    for edit, decision in steps:
        bench.decide(bench.experiment(Proposal(edit)), decision, "for the test")
    return bench


def seen(bench: Bench, **charter: object) -> Situation:
    return Surroundings(Charter.model_validate(charter), bench.task.edits).situation(bench, bench.head)


@pytest.fixture(scope="module")
def bench(cached: Trainer) -> Bench:
    return tried(cached, HISTORY)


@pytest.mark.parametrize("name", PROPOSERS.built_in)
class TestEveryProposer(ProposerConformance):
    pass


def ideas_of(*edits: Edit) -> list[tuple[ProgramIdea, ConditionalEdit]]:
    """Ideas of a program: d1, d2 …"""
    return [(ProgramIdea(f"n{n}", f"d{n}", n, ()), ConditionalEdit(edit)) for n, edit in enumerate(edits, start=1)]


def test_queue_serves_its_ideas_in_order_once(bench: Bench) -> None:
    queue, rng = QueueProposer(ideas_of(Edit({"LR": 0.3}), LR, Edit({"INIT": "zero"}))), np.random.default_rng(1)
    served = [queue.propose(seen(bench), rng) for _ in range(3)]
    assert [p.directive_ids if p else None for p in served] == [("d1",), ("d3",), None], "the second is as it is"


def test_queue_keeps_an_idea_until_its_condition_holds(bench: Bench) -> None:
    ideas = []
    for number, words in enumerate([("lr==0.1", "lr=*3"), ("lr!=0.1", "init=zero"), ("momentum=0.5",)]):
        terms, conditions = split(words)
        asked = read(bench.task.edits, terms, conditions)
        assert asked is not None
        ideas.append((ProgramIdea(" ".join(words), f"d{number}", number, terms, conditions), asked))
    queue, rng, here = QueueProposer(ideas), np.random.default_rng(1), seen(bench)
    assert here.parent.config["LR"] == 0.1
    first, second, third = (queue.propose(here, rng) for _ in range(3))
    assert first and first.edit.set == {"LR": pytest.approx(0.3)} and first.directive_ids == ("d0",)
    assert second and second.edit == Edit({"MOMENTUM": 0.5}) and third is None
    there = replace(here, parent=bench.baseline)  # where the rate is another one
    late = queue.propose(there, rng)
    assert late and late.directive_ids == ("d1",) and queue.propose(there, rng) is None


def test_elite_crosses_and_changes_the_best_scripts(bench: Bench) -> None:
    situation, rng = seen(bench), np.random.default_rng(2)
    best = parents(situation)
    metrics = [situation.sign * record.metric for record in best if record.metric is not None]
    every = [situation.sign * r.metric for r in situation.history if r.ok and r.full and r.metric is not None]
    assert len(metrics) == 4 and metrics == sorted(metrics) and metrics[0] == min(every)
    proposer = EliteProposer(ProposerStart(directive_ids=("d1",)))
    drawn = [proposer.propose(situation, rng) for _ in range(60)]
    wanted = [situation.parent.config | dict(changed(p.edit)) for p in drawn if p]
    apart = [min(sum(r.config[k] != config[k] for k in config) for r in best) for config in wanted]
    assert len(wanted) > 50 and max(apart) <= 4  # three settings, and a patch of the kept script that stays


def test_elite_waits_for_a_second_script(cached: Trainer) -> None:
    alone = seen(tried(cached, [(FAILS, "discard")]))
    assert [record.number for record in parents(alone)] == [0]
    assert EliteProposer().propose(alone, np.random.default_rng(1)) is None


@pytest.mark.parametrize("charter", [{"focus": ["optimizer"]}, {"avoid_failures": True}])
def test_elite_proposes_what_the_charter_allows(bench: Bench, charter: dict[str, Any]) -> None:
    situation, rng = seen(bench, **charter), np.random.default_rng(1)
    drawn = [proposal for _ in range(60) if (proposal := EliteProposer().propose(situation, rng))]
    assert drawn and not any(situation.was_tried(proposal.edit) for proposal in drawn)
    touched = {name for proposal in drawn for name, _ in changed(proposal.edit)}
    assert touched <= {knob.name for knob in situation.knobs}
    assert "focus" in charter or not any(set(changed(FAILS)) <= set(changed(p.edit)) for p in drawn)


def test_elite_parents_rank_by_the_mean_over_seeds(bench: Bench) -> None:
    situation = seen(bench)
    best, second = parents(situation)[:2]
    lucky = replace(second, metric=(best.metric or 0.0) - situation.sign, replicate=1)
    unlucky = replace(second, metric=(second.metric or 0.0) + 9 * situation.sign, replicate=2)
    ranked = parents(replace(situation, history=[*situation.history, lucky, unlucky]))
    assert ranked[0].source == best.source and second.source not in [record.source for record in ranked]


LADDERS = tuple(Knob(f"L{i}", "float", (0.0, 0.1, 1.0, 2.0, 3.0)) for i in range(12))
SPACE = EditSpace((*LADDERS, Knob("patch", "patch", (True,))))
LOW = {**{knob.name: 0.0 for knob in LADDERS}, "patch": False}
HIGH = {**{knob.name: 3.0 for knob in LADDERS}, "patch": True}


def test_elite_edit_changes_up_to_three_knobs_of_one_parent() -> None:
    rng = np.random.default_rng(1)
    drawn = [elite_edit(SPACE, [LOW], rng) for _ in range(300)]
    sizes = Counter(len(list(changed(child[1]))) for child in drawn if child is not None and child[0] == 0)
    assert set(sizes) == set(range(1, MOST_CHANGED + 1)) and min(sizes.values()) > 50 and sum(sizes.values()) == 300
    for space, whole in ((EditSpace((SPACE.knobs[-1],)), {"patch": True}), (EditSpace(), {})):
        assert elite_edit(space, [whole], rng) is None, "nothing can change"


def test_elite_edit_of_two_parents_crosses_a_share() -> None:
    rng = np.random.default_rng(2)
    crossed, first = 0, Counter[int]()
    for _ in range(1000):
        drawn = elite_edit(SPACE, [LOW, HIGH], rng)
        assert drawn is not None
        at, edit = drawn
        first[at] += 1
        size = len(list(changed(edit)))
        crossed += size > MOST_CHANGED
        assert at == 0 or edit.apply == ()  # the other parent has no patch, and an edit cannot take it away
        assert size <= MOST_CHANGED or (3.0 if at == 0 else 0.0) in edit.set.values()
    assert crossed / 1000 == pytest.approx(CROSSOVER, abs=0.06) and min(first.values()) > 400


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


def test_queue_that_is_empty_leaves_its_share_to_the_others(bench: Bench) -> None:
    rng, situation, zero = np.random.default_rng(1), seen(bench), Edit({"INIT": "zero"})

    def names(shares: dict[str, float], *edits: Edit) -> list[str]:
        mixed = proposers.make(Charter.model_validate({"proposers": shares}), ideas_of(*edits), ("d0",))
        return [p.proposer for p in (mixed.propose(situation, rng) for _ in range(5)) if p]

    assert names({"queue": 1000.0, "local": 1.0}, zero) == ["queue", *["local"] * 4]
    assert names({"queue": 1.0}, Edit({"LR": 0.03}), zero) == ["queue", "queue", "random", "random", "random"]


def decided(record: Experiment, decision: str, **changes: Any) -> Experiment:
    event = DecisionEvent(run_id=record.run_id, experiment_id=record.experiment_id, decision=decision)
    return replace(record, decided=event, **changes)


def test_queue_that_is_doubted_is_followed_less_as_ideas_fail(bench: Bench) -> None:
    ideas = ideas_of(*(Edit({"LR": 0.001 * n}) for n in range(1, 300)))
    charter, here = Charter.model_validate({"proposers": {"queue": 1.0}, "doubt_ideas": True}), seen(bench)

    def share(decisions: list[str], of: str | None = None, to: str = "") -> float:
        """Of 200 proposals to a program, those from the queue, after these decisions on ideas of a program."""
        history = [decided(here.history[0], word, proposer="queue", program_id=of) for word in decisions]
        situation, rng = replace(here, history=history), np.random.default_rng(4)
        fresh = proposers.make(charter, ideas, (), to)
        return sum(p.proposer == "queue" for p in (fresh.propose(situation, rng) for _ in range(200)) if p) / 200

    assert share([]) == share(["keep"] * 4) == share(["discard"] * 9, "theirs", "mine") == 1.0
    assert share(["discard"] * 9, "theirs", "theirs") < 0.2
    assert abs(share(["discard"]) - 0.2) < 0.09 and abs(share(["discard"] * 9) - 0.08) < 0.06
    assert abs(share(["keep", *["discard"] * 3]) - 0.54) < 0.1


def test_queue_proposes_an_undecided_idea_once_more_later(bench: Bench) -> None:
    ideas = ideas_of(Edit({"INIT": "zero"}), Edit({"MOMENTUM": 0.5}), Edit({"BATCH": 16}))  # unclear, in vain, later
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
    ladder, patch = Knob("LR", "float", (0.1, 0.2, 0.4)), Knob("bias", "patch", (False, True))
    for value, steps in ((0.2, [0.1, 0.4]), (0.3, [0.2, 0.4]), (0.05, [0.1])):
        assert [move.value for move in neighbours(ladder, {"LR": value})] == steps
    assert [move.edit for move in others(patch, {"bias": False})] == [Edit({}, ("bias",))]
    assert others(patch, {"bias": True}) == others(ladder, {}) == []
    assert after({"LR": 0.1}, Edit({"LR": 0.1})) == after({"LR": 0.1}, Edit())
