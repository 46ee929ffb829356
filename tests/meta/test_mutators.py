"""What every mutator keeps: sound children, determinism, honest ancestry. Then each one's own deed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

from analysis.evidence.page_text import RowIds, page
from analysis.evidence.task_evidence import evidence as measured
from analysis.study import open_study
from bench.simulated_tasks import random_law
from bench.whole import resized, whole_study
from meta.expected_gain import ExpectedGain
from meta.mutators.base import Mutator, ParentProgram
from meta.mutators.mix import MUTATORS, Mix, named_operators
from meta.mutators.offline.change_field import ChangeField
from meta.mutators.offline.cross_sections import CrossSections
from meta.mutators.offline.reorder_ideas import ReorderIdeas
from programs import shelf
from programs.diff import diff
from programs.program import Program
from programs.shelf import starter
from tests.conformance import MutatorConformance
from tests.planted_evidence import PLANTED, edit, evidence, idea, propose, with_model
from tests.programs.markdown import FIXTURES
from tests.studies import TINY, planted

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
    asked = [propose(mutator, a, b, seed) for seed in range(1) for a, b in ((first, second), (second, first))]
    assert all(Program.parse(proposal.text) for proposal in asked if proposal)
    alike = mutator.parents > 1 and first.text == second.text
    assert any(asked) == (not alike and mutator.name != "reorder-ideas")  # these have no ideas to put in order


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
    for seed in range(40):
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


LAW = random_law(2)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> ExpectedGain:
    folder = tmp_path_factory.mktemp("known")
    task, plan = planted(folder / "task"), resized(TINY, generations=0, opening_runs=6, opening_more=6)
    whole_study(task, plan, 1, folder / "study", run_budget=1.6)
    with open_study(folder / "study", views=()) as con:
        return ExpectedGain(task, measured(con, task.name))


def listed(*edits: tuple[str, object]) -> Program:
    terms = [knob if value is True else f"{knob}={value}" for knob, value in edits]
    ideas = "".join(f"- Use `{term}`.\n" for term in terms)
    return Program.parse(f"---\nmetaloop:\n  proposers: {{queue: 1.0}}\n---\n# List\n\n## Ideas\n\n{ideas}")


def tried(known: ExpectedGain) -> list[tuple[str, object]]:
    """Edits with a column of the model, the one of the largest true effect first."""
    found = {edit for law in known._laws for edit in law.effects}
    return sorted(found, key=lambda edit: -LAW.effects[edit])


def test_child_with_what_helps_is_raced_and_what_hurts_is_not(known: ExpectedGain) -> None:
    best, worst = listed(*tried(known)[:2]), listed(tried(known)[-1])
    assert known.problem(best, worst) == ""
    refused = known.problem(worst, best)
    assert refused.startswith("is not expected to gain more than its parent (-")
    assert "(+0" in known.problem(best, best)


CAUSAL = re.compile(
    r"\b(earn\w*|gained|caus\w*|effects?|because|due to|thanks to|makes?|made|brought|helps?|improv\w*|"
    r"difference|worth)\b", re.IGNORECASE,
)  # fmt: skip
CHOSEN = edit("MOMENTUM", 0.9, 0.2, low=0.1, high=0.3, q=0.01, design="observational")


def about(text: str, identity: str) -> list[str]:
    """The lines that cite a row."""
    return [told for told in text.splitlines() if identity in told]


def test_the_evidence_calls_observational_rows_associations() -> None:
    [told] = about(page(evidence(CHOSEN), RowIds(whole=True)), CHOSEN.credit_id)
    assert "associated with" in told and not CAUSAL.search(told), told
    [told] = about(page(evidence(replace(CHOSEN, design="randomised")), RowIds(whole=True)), CHOSEN.credit_id)
    assert "caused a gain of" in told


def test_mutators_do_not_write_causes_where_edits_were_chosen() -> None:
    chosen = [edit(f"K{i}", v, 0.1 + 0.02 * i, design="observational") for i in range(5) for v in (1, 2)]
    facts = with_model(evidence(*chosen, ideas=(idea("d1", "a `k0=1` `k1=2` b", 3.0),)))
    parents = [ParentProgram(starter(name), None) for name in ("idea-queue", "local")]
    known = {text for p in parents for text in p.program.text.splitlines()}
    rng, written = np.random.default_rng(1), 0
    for mutator in Mix().operators:
        proposal = mutator.propose(parents[: mutator.parents], facts, rng)
        if proposal is None:
            continue
        for told in [proposal.reason, *(t for t in proposal.text.splitlines() if t not in known and "`k" in t)]:
            written += 1
            assert not CAUSAL.search(told), told
    assert written > 5
