"""The idea list that is written from the evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.effects.experiments import FailedScript
from analysis.effects.final_scripts import FinalScript, on_top
from analysis.effects.rows import Value
from analysis.evidence.over_tasks import over_tasks
from analysis.evidence.task_evidence import Evidence
from analysis.evidence.task_evidence import evidence as measured
from analysis.statistics import mean_interval
from analysis.study import open_study
from analysis.views.scales import GainScale
from meta.mutators.base import ParentProgram
from meta.mutators.edit_gains import GainTable, key_of_term
from meta.mutators.offline.write_ideas import UNTOUCHED, WriteIdeas, untried_beside
from programs.program import Program
from tests.analysis import synthetic
from tests.planted_evidence import FITTED, PLANTED, edit, evidence, with_model
from trainer.edits import EditSpace, Knob

SCALE = GainScale("t", "nats", 2.0, True, mean_interval([2.0]))
BEST = ("conv", "momentum=0.9", "norm=batch", "batch=64")


def child_of(text: str, facts: Evidence = FITTED) -> Program:
    parent = ParentProgram(Program.parse(text), None)
    proposal = WriteIdeas().propose([parent], facts, np.random.default_rng(0))
    assert proposal is not None
    return Program.parse(proposal.text)


def test_write_ideas_twice_changes_nothing_more() -> None:
    child = child_of("Go.")
    assert [idea.terms for idea in child.ideas[:2]] == [BEST, ("momentum=0.925",)]
    assert child.ideas[0].text == "Combine `conv` `momentum=0.9` `norm=batch` `batch=64`."
    again = WriteIdeas().propose([ParentProgram(child, None)], FITTED, np.random.default_rng(0))
    assert again is None


def test_write_ideas_without_a_fitted_model_writes_nothing() -> None:
    parent = ParentProgram(Program.parse("Go."), None)
    for facts in (PLANTED, over_tasks([PLANTED, PLANTED], [SCALE, SCALE])):
        assert WriteIdeas().propose([parent], facts, np.random.default_rng(0)) is None


def test_write_ideas_where_nothing_gained_lists_what_may_add() -> None:
    """No edit adds more to the untouched script than its posterior SD, so there is no best configuration."""
    facts = with_model(evidence(*(edit(f"K{n}", 1, 0.0) for n in range(7))))
    assert facts.effects is not None
    rows = on_top(facts.effects, UNTOUCHED)
    expected = [f"Use `{row.key[0]}=1`." for row in rows if row.mean > 0]
    assert expected and all(row.mean <= row.sd for row in rows)
    assert [idea.text for idea in child_of("Go.", facts).ideas] == expected


def test_write_ideas_takes_an_idea_of_each_task_in_turn() -> None:
    """Each task has its best configuration first; a task without a model adds nothing."""
    first = with_model(evidence(edit("A", 1, 0.3), edit("B", 1, 0.2)))
    second = with_model(evidence(edit("A", 1, -0.3), edit("C", 1, 0.1), edit("D", 1, 0.2)))
    facts = over_tasks([first, PLANTED, second], [SCALE] * 3)
    child = child_of("## Ideas\n\n- `a=1` `c=1`\n- `z=1`\n", facts)
    written = [idea.terms for idea in child.ideas if "Untested" not in idea.text]
    assert written == [("a=1", "b=1"), ("d=1", "c=1"), ("z=1",)]


@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize(("gain", "first"), [(0.6, ("a=1", "c=1")), (0.4, ("a=1", "b=1"))])
def test_write_ideas_compares_configurations_in_one_unit(size: float, gain: float, first: tuple[str, ...]) -> None:
    """The model, whose gains are never divided by the scale, expects .5 of its best configuration; that of the runs
    gained more or less."""
    facts = with_model(evidence(edit("A", 1, 0.3), edit("B", 1, 0.2), edit("C", 1, -0.1)))
    assert facts.effects is not None
    keys = ("a", "1"), ("c", "1")
    ended = FinalScript(keys, tuple(facts.effects.column[key] for key in keys), ("r1",), mean=gain, sd=0.1)
    facts = over_tasks([replace(facts, finals=(ended,))] * 2, [replace(SCALE, size=size)] * 2)
    assert child_of("Go.", facts).ideas[0].terms == first


def test_the_programs_own_sentence_for_a_change_stays() -> None:
    sentence = "Convolve: neighbouring cells belong together (`conv`)."
    facts = with_model(evidence(edit("conv", True, 0.3), edit("pool", True, -0.05)))
    assert [idea.text for idea in child_of(f"## Ideas\n\n- {sentence}\n- Use `pool`.\n", facts).ideas] == [sentence]


@pytest.mark.parametrize("clash", [(), (("A", 1), ("B", 1))])
def test_changes_that_failed_together_are_offered_apart(clash: tuple[tuple[str, int], ...], tmp_path: Path) -> None:
    effects = {("A", 1): 0.3, ("B", 1): 0.25, ("C", 1): 0.1}
    world = synthetic.World(effects, dict.fromkeys("ABC", 0), clash=frozenset(clash))
    with synthetic.played(tmp_path, "own") as ledger:
        for number, tried in enumerate(("ACB", "BCA") * 2):
            rng, run_id = np.random.default_rng(number), f"r{number}"
            synthetic.start(ledger, run_id, "m1", "a1", "own", number)
            final = synthetic.search(ledger, world, run_id, rng, tries=3, seed=number, ideas=[(k, 1) for k in tried])
            synthetic.end(ledger, run_id)
            synthetic.verify(ledger, run_id, "a1", "own", [world.gain(final)] * 2)
    with open_study(tmp_path, views=()) as con:
        child = child_of("## Ideas\n\n- Both: `a=1` `b=1`.\n", measured(con, "strokes"))
    offered = [{*idea.terms} for idea in child.ideas]
    assert {"a=1", "c=1"} in offered if clash else {"a=1", "b=1", "c=1"} in offered
    assert any({"a=1", "b=1"} <= terms for terms in offered) is not bool(clash)


@pytest.mark.parametrize(("failing", "offered"), [((0,), True), ((0, 1), False)])
def test_edits_that_failed_on_one_task_stay_for_the_others(failing: tuple[int, ...], offered: bool) -> None:
    facts = with_model(evidence(edit("A", 1, 0.3), edit("B", 1, 0.2)))
    assert facts.effects is not None
    script = FailedScript('{"A": 1, "B": 1}', '{"A": 0, "B": 0}')
    failed = replace(facts, effects=replace(facts.effects, failed=[script]))
    both = over_tasks([failed if number in failing else facts for number in (0, 1)], [SCALE, SCALE])
    assert ({"a=1", "b=1"} in [{*idea.terms} for idea in child_of("Go.", both).ideas]) is offered


def test_the_queue_is_served_first_and_the_rest_is_as_it_was() -> None:
    child = child_of("---\nmetaloop:\n  proposers: {tpe: 3, local: 1}\n  focus: [model]\n---\nGo.\n")
    assert child.charter.proposers == pytest.approx({"queue": 0.95, "tpe": 0.0375, "local": 0.0125})
    assert child.charter.focus == ()
    assert child_of("Go.").charter.proposers == pytest.approx({"queue": 0.95, "random": 0.05})


def test_old_ideas_stay_only_where_the_evidence_is_silent() -> None:
    texts = [i.text for i in child_of("## Ideas\n- think hard\n- `depth=4` is deep\n- `muon`\n- `conv`\n").ideas]
    after = texts.index("think hard")
    assert texts[after + 1] == "`muon`" and "`depth=4` is deep" not in texts
    assert all(text.startswith("Untested neighbour") for text in texts[after + 2 :])


def test_a_try_that_may_fail_is_worth_less() -> None:
    rows = GainTable(evidence(edit("K", 1, 0.1), edit("FRAGILE", 1, 0.1, failures=8))).rows
    assert rows["k", "1"].score == pytest.approx(0.1) and rows["fragile", "1"].score == pytest.approx(0.05)


@pytest.mark.parametrize("values", [(0.1234567, 0.1234568), ("Adam", "adam")])
def test_gains_of_values_that_the_model_separates_have_own_rows(values: tuple[Value, Value]) -> None:
    assert len(GainTable(evidence(*(edit("K", value, 0.1) for value in values))).rows) == 2


def test_terms_name_keys() -> None:
    assert key_of_term("lr=2e-3") == key_of_term("LR = 0.002") == ("lr", "0.002")
    assert key_of_term("+muon") == key_of_term("muon") == key_of_term("muon=True") == ("muon", "true")
    assert key_of_term("batch=64") == key_of_term("batch=64.0")
    assert key_of_term("train.py") is key_of_term("lr=") is None


@pytest.mark.parametrize(
    ("best", "tried", "found"),
    [
        (0.1, [0.01, 1.0], [0.316, 0.0316]), (0.1, [0.01], [1.0, 0.0316]), (64, [32, 128], [91, 45]),
        (8, [16, 32], [11, 4]), (0.0, [0.1], [0.05]), (0.1, [0.0], [0.2, 0.05]), (2, [1, 3], []), (5, [5], []),
    ],
)  # fmt: skip
def test_untried_values_lie_beside_the_best(best: float, tried: list[float], found: list[float]) -> None:
    assert untried_beside(best, tried) == found


def test_neighbours_follow_the_task_not_its_untouched_files() -> None:
    knob = Knob("EPOCHS", "int", (15, 60, 240), 15, 240)
    edits = edit("EPOCHS", 240, 0.3), edit("EPOCHS", 15, -0.3), edit("WIDTH", 64, 0.2), edit("WIDTH", 16, 0.1)
    facts = with_model(evidence(*edits))

    def neighbours(facts: Evidence) -> list[str]:
        return [term for idea in child_of("Go.", facts).ideas if "Untested" in idea.text for term in idea.terms]

    assert neighbours(facts) == ["epochs=3840", "epochs=60", "width=256", "width=32"]
    on_task = replace(facts, space=EditSpace((knob,)), untouched={"EPOCHS": 60})
    assert neighbours(on_task) == ["epochs=120", "width=256", "width=32"]


def test_a_value_that_main_had_is_no_untested_neighbour(tmp_path: Path) -> None:
    """As in a second night: the main of the first is trained by no edit."""
    with synthetic.played(tmp_path, "p1") as ledger:
        for run in range(4):
            synthetic.start(ledger, f"r{run}", "m1", "a1", "p1", run)
            tries: list[tuple[int, dict[str, int], float]] = [(1, {}, 0.0), (4, {}, 0.3), (16, {"K": 16}, 0.6)]
            for number, (value, change, gain) in enumerate(tries):
                above = synthetic.sid({"K": tries[number - 1][0]}) if number else None
                synthetic._experiment(
                    ledger, f"r{run}", number, number - 1 if number else None, change, {"K": value}, above, run,
                    2.0 - gain + 0.01 * run, (), "queue", "keep" if number else "baseline",
                )  # fmt: skip
    with open_study(tmp_path, views=()) as con:
        facts = replace(
            measured(con, "strokes"), space=EditSpace((Knob("K", "int", (1, 256), 1, 256),)), untouched={"K": 1}
        )
    assert [idea.terms[0] for idea in child_of("Go.", facts).ideas if "Untested" in idea.text] == ["k=64", "k=8"]


def test_list_opens_with_the_best_config_and_what_adds_to_it(tmp_path: Path) -> None:
    """C is good alone and spoils the best configuration; D is good on top of it; X is worth nothing."""
    a, b, c, d, x = (("ABCDX"[n], 1) for n in range(5))
    effects = {a: 0.4, b: 0.3, c: 0.2, d: 0.1, x: 0.0}
    world = synthetic.World(effects, {k: 0 for k, _ in effects}, {(a, c): -0.5}, noise=0.01)
    with open_study(synthetic.study(tmp_path, world, runs=12, tries=10), views=()) as con:
        facts = measured(con, "strokes")
    ideas = child_of("Go.", facts).ideas
    assert {"a=1", "b=1"} <= set(ideas[0].terms) and "c=1" not in ideas[0].terms
    assert "c=1" not in {term for idea in ideas for term in idea.terms}
    assert next(index for index, idea in enumerate(ideas) if "d=1" in idea.terms) <= 1
