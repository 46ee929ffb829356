"""What every mutator keeps: sound children, determinism, honest ancestry. Then each one's own deed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from meta.mutators.base import Mutator
from meta.mutators.mix import MUTATORS, Mix, named_operators
from meta.mutators.offline.change_field import ChangeField
from meta.mutators.offline.cross_sections import CrossSections
from meta.mutators.offline.reorder_ideas import ReorderIdeas
from programs import shelf
from programs.diff import diff
from programs.program import Program
from tests.conformance import MutatorConformance
from tests.planted_evidence import PLANTED, evidence, idea, propose
from tests.programs.markdown import FIXTURES

HARD = {name: text for name, text in FIXTURES.items() if name != "unclosed fence"}
OPERATORS = Mix().operators
EACH = pytest.mark.parametrize("mutator", OPERATORS, ids=lambda m: m.name)


@pytest.mark.parametrize("name", MUTATORS.built_in)
class TestEveryMutator(MutatorConformance):
    pass


@EACH
@pytest.mark.parametrize("name", HARD)
def test_alike_parents_and_unordered_lists_have_no_child(mutator: Mutator, name: str) -> None:
    first, second = Program.parse(HARD[name], "first"), Program.parse(FIXTURES["mixed"], "second")
    asked = [propose(mutator, a, b, seed) for seed in range(2) for a, b in ((first, second), (second, first))]
    assert all(Program.parse(proposal.text) for proposal in asked if proposal)
    alike = mutator.parents > 1 and first.text == second.text
    assert any(asked) == (not alike and mutator.name != "reorder-ideas")  # these have no ideas to put in order


@pytest.mark.parametrize("name", HARD)
def test_ideas_are_put_in_order_in_any_markdown(name: str) -> None:
    text = Program.parse(HARD[name]).text.rstrip() + "\n\n## Ideas\n\n- `depth=4`\n- `batch=64`\n"
    proposal = propose(ReorderIdeas(), Program.parse(text), Program.parse("x"), 0)
    assert proposal is not None
    assert [i.terms for i in Program.parse(proposal.text).ideas][:1] == [("batch=64",)]


@EACH
def test_no_evidence_is_no_failure(mutator: Mutator) -> None:
    proposal = propose(mutator, shelf.starter("local"), shelf.starter("idea-queue"), 0, evidence())
    assert (proposal is None) == (mutator.name in ("write-ideas", "reorder-ideas"))


def test_reorder_puts_the_best_first_and_losers_last() -> None:
    text = "## Ideas\n- `depth=4`\n- think\n- `batch=64`\n- `conv`\n- `norm=batch` and `momentum=0.9`\n"
    proposal = propose(ReorderIdeas(), Program.parse(text), Program.parse("x"), 0)
    assert proposal is not None
    child = Program.parse(proposal.text)
    assert [i.terms for i in child.ideas] == [
        ("norm=batch", "momentum=0.9"), ("conv",), ("batch=64",), (), ("depth=4",),
    ]  # fmt: skip
    assert child.charter.proposers["queue"] > 0.9
    again = propose(ReorderIdeas(), child, Program.parse("x"), 0)
    assert again is None


def test_reorder_believes_what_an_idea_earned_as_it_stands() -> None:
    program = Program.parse("## Ideas\n- `conv`\n- `depth=4` with `pool`\n")
    joint = idea(program.ideas[1].directive_id, "`depth=4` with `pool`", kept_gain=12.0)
    facts = evidence(*PLANTED.edits, ideas=(joint,))
    proposal = propose(ReorderIdeas(), program, program, 0, facts)
    assert proposal is not None
    assert Program.parse(proposal.text).ideas[0].terms == ("depth=4", "pool")
    assert joint.credit_id in proposal.evidence_ids


def test_change_field_changes_fields_that_belong_together() -> None:
    seen = set()
    for seed in range(60):
        parent = shelf.starter(("stock", "local-screen", "idea-queue")[seed % 3])
        proposal = propose(ChangeField(), parent, parent, seed)
        if proposal is None:
            continue
        found = diff(parent, Program.parse(proposal.text))
        changed = [*found.added, *found.removed, *(new for _, new in found.changed)]
        assert {d.kind for d in changed} <= {"charter"}
        seen |= {d.text.split(":")[0] for d in changed}
        child = Program.parse(proposal.text).charter
        assert (child.screen.fraction < 1) == (child.wave > 1)
    assert seen >= {"screen.fraction", "wave", "proposers", "replicates", "confirm"}


def test_change_field_keeps_the_share_of_the_queue() -> None:
    parent = shelf.starter("idea-queue")
    for seed in range(20):
        proposal = propose(ChangeField(), parent, parent, seed)
        assert proposal is not None
        shares = Program.parse(proposal.text).charter.proposers
        assert shares["queue"] / sum(shares.values()) == pytest.approx(0.9, abs=0.01)


def test_crossover_takes_whole_sections_from_either() -> None:
    first, second = shelf.starter("local-screen"), shelf.starter("idea-queue")
    allowed = {d.text for d in (*first.directives, *second.directives)}
    charters = set()
    for seed in range(20):
        proposal = propose(CrossSections(), first, second, seed)
        assert proposal is not None
        child = Program.parse(proposal.text)
        assert {d.text for d in child.directives} <= allowed
        assert child.charter in (first.charter, second.charter)
        assert len(child.ideas) in (0, len(second.ideas))
        charters.add(child.charter.model_dump_json())
    assert len(charters) == 2


def test_the_mix_is_fixed_and_recorded() -> None:
    mix = Mix()
    assert [m.name for m in mix.operators] == list(MUTATORS.built_in)
    drawn = [mix.draw(np.random.default_rng(seed)).name for seed in range(400)]
    assert drawn == [mix.draw(np.random.default_rng(seed)).name for seed in range(400)]
    assert 0.2 < drawn.count("write-ideas") / 400 < 0.4
    only = Mix(named_operators(["write-ideas"]))
    assert only.draw(np.random.default_rng(0)).name == "write-ideas"


@dataclass
class Writer:
    name: str
    model: str = "m"
    parents: int = 1
    open: bool = True

    def propose(self, *_: object) -> None: ...

    def report(self, *_: object) -> None: ...


def test_models_take_every_second_turn_until_none_answers() -> None:
    rng, writers = np.random.default_rng(0), [Writer("rewrite"), Writer("merge")]
    offline = {mutator.name for mutator in OPERATORS}
    drawn = [(mix := Mix(writers=writers)).draw(rng).name] + [mix.draw(rng).name for _ in range(5)]
    assert drawn[::2] == ["rewrite", "merge", "rewrite"] and {*drawn[1::2]} <= offline
    assert Mix(writers=writers, turn=1).draw(rng).name == "merge"  # the second generation begins with it
    for writer in writers:
        writer.open = False
    assert {mix.draw(rng).name for _ in range(5)} <= offline
