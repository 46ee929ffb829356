"""Plans as study.toml has them, and a night that is cut off while its next program is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.evidence.task_evidence import Evidence
from arena.study.setup import StudySetup
from arena.study.study import Study
from bench.whole import QUICK, begin_night, begin_study, evolve_plan
from meta.kinds.contract import plan_of
from meta.kinds.plans import AblationPlan, MatchPlan, NightPlan, Plan, ReplayPlan, starters_of
from meta.mutators.base import ChildProposal, ModelMutator, ParentProgram
from meta.night import write_next
from meta.population import admit_starters, racing, starters
from programs.common.errors import Corrupt
from programs.program import Program
from programs.shelf import starter
from tests.planted_evidence import PLANTED
from tests.studies import planted
from trainer.task import Task

STOCK, LOCAL = starter("stock"), starter("local")
MATCH = {"runs": 2, "roles": ["program"]}
ABLATED = {"name": STOCK.name, "text": STOCK.document}


def config_of(kind: str, plan: dict[str, Any]) -> Any:
    return StudySetup(kind, Task.load("strokes"), 1.0, programs=[STOCK], plan=plan).config()


@pytest.mark.parametrize(
    ("kind", "plan", "field"),
    [
        ("ablation", ABLATED | {"only": "all"}, "only"),
        ("ablation", ABLATED | {"budget": True}, "budget"),
        ("ablation", ABLATED | {"budget": -1.0}, "budget"),
        ("ablation", {"name": "a"}, "text"),
        ("replay", {"run_id": "r1", "commits": 2, "seeds": 1}, "seeds"),
        ("night", {"turns": [STOCK.program_id], "origin": STOCK.program_id}, "turns"),
        ("night", {"turns": [STOCK.program_id, "p0"], "origin": STOCK.program_id}, "turns"),
        ("evolve", QUICK.table() | {"origin": 3}, "origin"),
        ("evolve", QUICK.table() | {"origin": "p0"}, "origin"),
        ("evolve", QUICK.table() | {"final": {"champion": 3}}, "control"),
        ("evolve", QUICK.table() | {"final": QUICK.final | {"twin": 3}}, "final.twin"),
        ("evolve", QUICK.table() | {"test": {"level": 0.05}}, "test.level"),
        ("evolve", QUICK.table() | {"race_rule": "halving"}, "race_rule"),
        ("match", MATCH | {"roles": ["program", "control"]}, "roles"),
        ("match", MATCH | {"race": {"batch": "big", "rule": "top-two"}}, "race.batch"),
    ],
)
def test_plan_of_another_form_is_refused_by_field(kind: str, plan: dict[str, Any], field: str) -> None:
    with pytest.raises(Corrupt, match=field) as refused:
        plan_of(config_of(kind, plan))
    assert refused.value.hint == "restore study.toml from a copy"


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        ("evolve", QUICK),
        ("night", NightPlan(turns=[STOCK.program_id] * 2, origin=STOCK.program_id, main_seconds=2.0)),
        ("match", MatchPlan(runs=2, roles=["program"])),
        ("ablation", AblationPlan(**ABLATED, budget=3.0)),
        ("replay", ReplayPlan(run_id="r1", commits=2, seeds=3, source="imports/a")),
    ],
)
def test_plan_is_read_from_disk_as_it_was_written(kind: str, plan: Plan, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s", config_of(kind, plan.table()))
    assert plan_of(Study.open(study.folder).config) == plan


def test_plan_names_the_users_program_and_counts_its_runs(tmp_path: Path) -> None:
    mine = Program.parse("# Mine\n\nTake care.\n", "mine")
    study = begin_study(tmp_path / "s", planted(tmp_path / "law"), QUICK, programs=[mine], path="/x/mine.md")
    plan = evolve_plan(study)
    assert (plan.origin, plan.path) == (mine.program_id, "/x/mine.md")
    # 3 starters x 3 and A/A 3; two generations of 3 + 2 programs x 3, the best two 2 more each
    assert plan.search_runs == 9 + 3 + 2 * (15 + 4) and plan.final_runs == 34


def test_race_enters_programs_that_behave_alike_once() -> None:
    task = Task.load("strokes")
    several = [Program.parse(f"---\nmetaloop:\n  wave: {n}\n---\n# P{n}\n\nTry.\n", f"p{n}") for n in (2, 3)]
    assert racing(starters(10), [task], "scripted") == 9  # the one-line program does the same as stock
    assert racing(starters(10), [task], "command") == 10
    assert racing(starters(10, several), [task], "scripted") == 3


@dataclass
class Once:
    """A model that has one reply, and counts how often it is asked."""

    asked: list[str] = field(default_factory=list)
    name, model, parents, open = "rewrite", "m", 1, True

    def propose(self, parents: Sequence[ParentProgram], evidence: Evidence, rng: object) -> ChildProposal:
        self.asked.append(parents[0].program.name)
        parent_ids = (parents[0].program.program_id,)
        return ChildProposal(LOCAL.text, self.name, "because", (), parent_ids)

    def report(self, proposal: ChildProposal, refusal: str) -> None: ...


@pytest.mark.parametrize("cut", [False, True])
def test_next_program_of_a_night_is_written_once(cut: bool, tmp_path: Path) -> None:
    """Also where a kill left the child in the ledger without the record of its writing."""
    study, model = begin_night(tmp_path / "s", planted(tmp_path / "law"), 9.6, STOCK, seed=1), Once()

    def writers(generation: int, facts: Evidence) -> list[ModelMutator]:
        return [model]

    with study:
        admit_starters(study, STOCK.program_id)
        if cut:
            study.admit(LOCAL.with_text(LOCAL.text, "stock-v2"), generation=1, operator="rewrite")
        first = write_next(study, STOCK, PLANTED, writers)
        again = write_next(study, STOCK, PLANTED, writers)
    assert first is not None and first.text == LOCAL.text and again == first and len(model.asked) == 1
    assert all(program.program_id != first.program_id for program in starters_of(study.config))
