"""Who breeds, and which children are new."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from analysis.evidence.task_evidence import ProgramScore
from analysis.ledger.writing_events import ProgramEvent
from analysis.statistics import Estimate
from analysis.verdict.claim import Against, claim
from meta.archive import Archive, front, not_behind, surpasses
from meta.breed import judge
from meta.mutators.base import ChildProposal
from meta.novelty import Novelty
from meta.population import descendants, entries
from programs.edit import state_settings
from programs.program import Program
from programs.settings import set_charter
from tests.events import example
from tests.studies import program
from trainer.task import Task

STROKES = Task.load("strokes")


def score(program_id: str, mean: float, se: float = 0.01) -> ProgramScore:
    return ProgramScore(
        program_id=program_id, name=program_id, task="t", gain=Estimate(mean, se, n=4), shrunk=Estimate(mean, se),
        claimed=None, words=1, generation=0,
    )  # fmt: skip


def archive(children: Counter[str] | None = None) -> Archive:
    names = ["weak", "good", "best"]
    scores = [score("weak", 0.1), score("good", 0.4), score("best", 0.42)]
    return Archive({name: program(name) for name in names}, scores, children or Counter())


def first_parents(found: Archive, draws: int = 200) -> Counter[str]:
    rng = np.random.default_rng(0)
    return Counter(found.parents(rng, 1)[0].program.name for _ in range(draws))


def test_parents_are_drawn_by_posterior_gain_where_many_children() -> None:
    drawn, crowded = first_parents(archive()), first_parents(archive(Counter(best=8)))
    assert drawn["best"] > drawn["good"] > 0 and drawn["weak"] == 0
    assert crowded["good"] > crowded["best"]


def test_two_parents_are_two_programs_and_the_first_may_be_fixed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, two = archive().parents(rng, 2, ["weak"])
        assert one.program.name == "weak" != two.program.name


def test_program_that_behaves_like_another_breeds_but_not_elite() -> None:
    programs = {name: program(name) for name in ("stock", "good", "own")}
    found = Archive(programs, [score("stock", 0.1), score("good", 0.4)], Counter(), {"own": "stock"})
    rng = np.random.default_rng(0)
    assert found.parents(rng, 1, ["own"])[0].score == replace(score("stock", 0.1), program_id="own")
    assert found.runners() == ["good", "stock"]


def test_prose_alone_is_no_new_behaviour_but_a_charter_is() -> None:
    novelty = Novelty([STROKES], "scripted")
    assert novelty.meet(program("stock")) is None
    first = program("stock").program_id
    assert novelty.meet(Program.parse("# Other words\n\nDo your best.\n")) == first
    assert novelty.meet(program("local", "  proposers: {local: 1.0}\n")) is None


def test_novelty_of_a_refused_child_is_not_recorded() -> None:
    novelty, parent = Novelty([STROKES], "scripted"), program("stock")
    proposal = ChildProposal(program("a", "  wave: 3\n").text, "change-field", "r", (), (parent.program_id,))
    refused = judge(proposal, parent, "a-v2", novelty, worth=lambda _child, _parent: "is not expected to gain")
    assert refused.refusal == "is not expected to gain"
    admitted = judge(proposal, parent, "a-v2", novelty)
    assert admitted.refusal == "" and admitted.program is not None
    assert judge(proposal, parent, "a-v3", novelty).refusal == f"behaves like {admitted.program.program_id}"


def test_settings_of_an_export_follow_the_charter_of_a_child() -> None:
    exported = Program.parse(state_settings(program("a", "  wave: 3\n  screen: {fraction: 0.5}\n").text), "a")
    proposal = ChildProposal(set_charter(exported.text, "wave", 6), "change-field", "r", (), (exported.program_id,))
    child = judge(proposal, exported, "a-v2", Novelty([STROKES], "scripted")).program
    assert child is not None and "\n- wave: 6 " in child.text and "\n- wave: 3 " not in child.text


def test_programs_that_behave_alike_enter_once() -> None:
    entered, twins = entries([program("a"), Program.parse("# b\n\nsame\n", "b")], Novelty([STROKES], "scripted"))
    assert [e.program.name for e in entered] == ["a"]
    assert list(twins.values()) == [program("a").program_id]


def test_descendants_follow_any_parent() -> None:
    rows: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("x", "b"), "d": ("x",)}
    programs = {k: example(ProgramEvent, program_id=k, parent_ids=v) for k, v in rows.items()}
    assert descendants("a", programs) == ["a", "b", "c"]


def test_claim_counts_the_error_of_the_baseline_that_stays() -> None:
    """Stock ends at the baseline and gains exactly 0; a champion that does not gains what the baseline is off by."""
    gains = {"champion": [0.30, 0.28, 0.31, 0.29, 0.33, 0.27], "control": [0.0] * 6}
    baseline = (1.2, 2.4, 0.7, 1.9, 2.8, 1.0, 1.6, 2.2)
    known = claim(gains)
    off = claim(gains, Against(baseline, {"champion": 1.0, "control": 0.0}))
    alike = claim(gains, Against(baseline, {"champion": 1.0, "control": 1.0}))
    assert known.holds and known == alike
    assert not off.holds and off.tested.lead.value == known.tested.lead.value
    assert off.tested.lead.low < 0 < off.tested.lead.high


def test_parents_of_several_tasks_come_from_the_front_of_draws() -> None:
    def on(name: str, north: float, south: float) -> ProgramScore:
        tasks = tuple(score(name, gain, 1e-6) for gain in (north, south))
        return replace(score(name, (north + south) / 2), tasks=tasks)

    names = ["both", "north", "south", "worse"]
    scores = [on("both", 0.5, 0.5), on("north", 0.9, 0.0), on("south", 0.0, 0.9), on("worse", 0.49, 0.49)]
    found = Archive({name: program(name) for name in names}, scores, Counter())
    bred = first_parents(found, 300)
    assert set(bred) == {"both", "north", "south"} and min(bred.values()) > 70
    assert front([[1.0], [3.0], [2.0], [3.0]]) == [1]  # on one task the front is the best draw, the first of equal ones


def test_child_no_better_beside_its_parent_is_no_champion() -> None:
    parents = {"child": ("parent", "other"), "parent": ("origin",), "origin": (), "stranger": ("parent",)}
    runs = {
        "origin": {("t", "opening", 1): 0.1, ("t", "first", 2): 0.5},
        "parent": {("t", "opening", 1): 0.2, ("t", "first", 2): 0.9, ("t", "first", 3): 0.7},
        "child": {("t", "first", 2): 0.8, ("t", "first", 3): 0.7},  # its mean is above the parent's
        "stranger": {("t", "second", 2): 0.1},
    }
    assert not_behind("child", parents, runs.keys(), runs) == "parent"
    assert not_behind("child", parents, {"child", "origin"}, runs) == "child"
    assert not_behind("stranger", parents, runs.keys(), runs) == "stranger"
    runs["parent"][("t", "opening", 1)] = 0.0
    runs["parent"][("t", "first", 2)] = 0.5
    assert not_behind("child", parents, runs.keys(), runs) == "child"
    assert not_behind("parent", parents, runs.keys(), runs) == "origin"


def test_child_over_several_tasks_is_compared_in_ones_spread() -> None:
    parent = {("a", "m", seed): 0.0 for seed in range(4)} | {("b", "m", seed): 0.0 for seed in range(4)}
    child = {("a", "m", seed): -90.0 + 60 * seed for seed in range(4)}  # no difference on average
    assert surpasses(child | {("b", "m", seed): 0.01 + 0.001 * seed for seed in range(4)}, parent)
    assert not surpasses(child | {("b", "m", seed): -0.01 - 0.001 * seed for seed in range(4)}, parent)


def test_pair_on_a_task_counts_the_same_in_any_unit() -> None:
    parent = {("a", "m", 0): 0.0, ("a", "m", 1): 0.0, ("b", "m", 0): 0.0}
    for unit in (0.001, 1.0, 1000.0):
        child = {("a", "m", 0): 0.2, ("a", "m", 1): 0.4, ("b", "m", 0): -5.0 * unit}
        assert surpasses(child, parent)  # three standard deviations on a
        assert not surpasses({key: -gain for key, gain in child.items()}, parent)
