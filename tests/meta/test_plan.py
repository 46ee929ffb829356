"""Plans: their sizes within a budget, as study.toml has them, and a night whose next program is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.evidence.task_evidence import Evidence
from arena.study.setup import RunCost, StudySetup
from arena.study.study import Study
from bench.whole import QUICK, begin_night, begin_study, evolve_plan
from meta.kinds import size
from meta.kinds.contract import plan_of
from meta.kinds.plans import AblationPlan, EvolvePlan, MatchPlan, NightPlan, Plan, ReplayPlan, starters_of
from meta.mutators.base import ChildProposal, ModelMutator, ParentProgram
from meta.night import write_next
from meta.novelty import Novelty
from meta.population import admit_starters, entries, starters
from programs.common.errors import Corrupt, UsageError
from programs.program import Program
from programs.shelf import starter
from tests.planted_evidence import PLANTED
from tests.studies import RUN_BUDGET, TINY, planted
from trainer.task import Task

from .cli_study import metaloop

STROKES = Task.load("strokes")
COST = RunCost(STROKES, RUN_BUDGET)


def within(budget: float) -> EvolvePlan:
    return size.within(budget, lambda plan: size.device_seconds(plan, COST), lambda plan: plan, STROKES)


def test_runs_are_counted_part_by_part() -> None:
    # opening 3 x 2, its best two one more each, A/A 2; one generation of 2 + 1 programs x 2, the best one more
    plan = TINY.model_copy(update={"children": 2})
    assert plan.search_runs == 6 + 2 + 2 + 6 + 1
    assert plan.runs == plan.search_runs + 2 * 3 + 2 + 2  # champion and stock, without ideas, A/A


def test_the_device_time_holds_runs_verifications_and_baselines() -> None:
    expected = TINY.runs * RUN_BUDGET + (TINY.runs * 2 + 2 * 8) * STROKES.cost_seconds
    assert size.device_seconds(TINY, COST, confirm_seeds=2) == pytest.approx(expected)
    more = size.device_seconds(TINY, COST) - expected  # a claim is verified with four seeds
    assert more == pytest.approx(2 * TINY.final_runs * STROKES.cost_seconds)


def test_a_larger_budget_is_used_and_never_buys_fewer_runs() -> None:
    plans = {budget: within(budget) for budget in range(200, 1500, 50)}
    assert all(0.75 * budget <= size.device_seconds(plan, COST) <= budget for budget, plan in plans.items())
    assert [*plans.values()] == sorted(plans.values(), key=lambda plan: plan.runs)
    with pytest.raises(UsageError, match="smallest study on strokes takes about"):
        within(5.0)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", {}),
        ("--set generations=5 --runs 6 --set harvest=40", {"generations": 5, "runs": 6, "harvest_percent": 40}),
    ],
)
def test_no_flag_puts_a_plan_above_its_budget(words: str, numbers: dict[str, int]) -> None:
    planned = metaloop("evolve", "--budget", "1200s", *words.split(), "--dry-run", "--json").json
    assert planned["device_seconds"] <= 1200
    plan = planned["plan"] | {"runs": planned["plan"]["generation"]["runs"]}
    assert {name: plan[name] for name in numbers} == numbers


def test_flags_that_do_not_fit_their_budget_are_refused() -> None:
    done = metaloop("evolve", "-t", "strokes", "--budget", "8m", "--runs", "90", "--dry-run", code=2)
    assert "a budget of 480 s is too small" in done.stderr and "--runs" in done.stderr


def test_the_planned_runs_are_those_of_all_tasks() -> None:
    quick = size.QUICK
    alone: dict[str, Any] = {"further": [], "held_out": []}
    assert quick.planned_runs(alone, arms=9) == quick.runs
    held_out = {"further": [{}], "held_out": [{"tested": True}, {"tested": False}]}
    tested = sum(quick.final[role] for role in ("champion", "control", "without-ideas"))
    assert quick.planned_runs(held_out, 9) == 2 * quick.runs + tested + 2 * quick.shown_runs


@pytest.mark.parametrize(
    ("count", "researcher"),
    [(2, ()), (20, ()), (1, ("--set", "agent=cat"))],
)
def test_plan_counts_the_programs_that_the_opening_race_enters(
    tmp_path: Path, count: int, researcher: tuple[str, ...]
) -> None:
    files = [tmp_path / f"p{number}.md" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"---\nmetaloop:\n  wave: {number + 2}\n---\n# P{number}\n\nChange one thing.\n")
    planned = metaloop("evolve", *files, "--set", "knowledge=none", *researcher, "--dry-run", "--json").json
    own = [Program.parse(file.read_text(), file.stem) for file in files]
    racing = starters(size.DEFAULT.starters, own)
    entered, _ = entries(racing, Novelty([STROKES], "command" if researcher else "scripted"))
    assert planned["plan"]["starters"] == len(entered)
    assert planned["stages"][0]["programs"] == f"{len(entered)}, and stock (A/A)"


STOCK, LOCAL = starter("stock"), starter("local")
MATCH = {"runs": 2, "roles": ["program"]}
ABLATED = {"name": STOCK.name, "text": STOCK.document}


def config_of(kind: str, plan: dict[str, Any]) -> Any:
    return StudySetup(kind, Task.load("strokes"), 1.0, programs=[STOCK], plan=plan).config()


@pytest.mark.parametrize(
    ("kind", "plan", "field"),
    [
        ("ablation", ABLATED | {"only": "all"}, "only"),
        ("ablation", ABLATED | {"budget": -1.0}, "budget"),
        ("replay", {"run_id": "r1", "commits": 2, "seeds": 1}, "seeds"),
        ("night", {"turns": [STOCK.program_id], "origin": STOCK.program_id}, "turns"),
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
