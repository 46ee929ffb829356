"""A study over families: new tasks in every stage, scores beside stock on the same tasks, a claim over tasks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.report.evidence import EditCredit, Evidence, ProgramScore
from analysis.scales import UNIT, GainScale
from analysis.statistics import mean_interval
from analysis.study import open_study, query
from analysis.verdict.over_tasks import over_stages, over_tasks
from analysis.verdict.verdict import decided
from arena.settings import UsedFamilies
from arena.setup import beside
from arena.task_set import TaskSet, evidence_of
from meta.claim import Against, Gains, claim_over
from meta.confirmation import FINAL
from meta.learnt import relearnt
from meta.study.begin import take_up
from meta.study.past_study import past_study
from meta.study.plan import Plan
from meta.study.task_families import DrawnTasks, Families, draw, sized, works
from programs.errors import UsageError
from programs.shelf import starter
from tests.meta.evolved import Ended, evolved, taken_up_again
from tests.planted_evidence import edit, idea
from tests.studies import TINY, Snapshot
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task

PLAN = replace(
    TINY, run_budget=0.8, confirm_runs=2, ablation_runs=2, control_runs=2, harvest_percent=0,
    variant_runs=0, family_tasks=1, family_confirm=2,
)  # fmt: skip


def member_of(folder: Path, family: str, number: int) -> Task:
    """A simulated task that says of which family it is."""
    made = simulated_task(random_law(number), folder / f"{family}-{number}", name=f"{family}-{number}", experiments=8)
    toml = made / "task.toml"
    toml.write_text(toml.read_text() + f'\n[family]\nname = "{family}"\n')
    return Task.load(made)


def drawn(folder: Path, plan: Plan = PLAN) -> DrawnTasks:
    """Two families to search on, one that is left out."""
    stages = [
        [member_of(folder, family, number) for family in ("east", "west") for number in numbers]
        for numbers in ((1,), (2,), (5, 6))
    ]
    opening = stages[0]
    far = [member_of(folder, "far", number) for number in (8, 9)]
    later = ((stage, beside(opening[0], plan.run_budget, stages[stage])) for stage in (1, 2))
    fresh = [one.model_copy(update={"stage": stage}) for stage, made in later for one in made]
    members: dict[str, list[str]] = {}
    for task in (*(one for stage in stages for one in stage), *far):
        members.setdefault(task.name.partition("-")[0], []).append(task.task_id)
    bases = [str(task.folder) for task in opening]
    used = UsedFamilies(searched=bases, left_out=[str(far[0].folder)], members=members)
    return DrawnTasks(used, opening, fresh, beside(opening[0], plan.run_budget, far))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("families")
    tasks = drawn(folder)
    first, *further = tasks.opening
    return folder / "study", evolved(folder / "study", first, PLAN, further=further, drawn=tasks, seed=1)


@pytest.fixture(scope="module")
def ask(ended: Ended) -> Snapshot:
    return Snapshot(ended[0])


def test_every_stage_has_new_tasks_of_each_family_with_stock_and_none_is_used_twice(ask: Snapshot) -> None:
    rows = ask("SELECT task, list(DISTINCT purpose) AS purposes FROM matches GROUP BY task")
    used = {row["task"]: row["purposes"] for row in rows}
    assert all(len(purposes) == 1 for purposes in used.values())
    by_purpose = {p: {task for task, of in used.items() if of == [p]} for of in used.values() for p in of}
    numbers = {"race": (1,), "generation": (2,), "confirmation": (5, 6)}
    searched = {p: {f"{family}-{n}" for family in ("east", "west") for n in of} for p, of in numbers.items()}
    assert by_purpose == searched | {"reserve": {"far-8", "far-9"}}
    of_stock = ask(f"SELECT DISTINCT task FROM runs WHERE program_id = '{starter('stock').program_id}'")
    assert {row["task"] for row in of_stock} == used.keys()


def test_the_scale_of_a_task_is_what_stock_gained_on_its_family_in_the_search(ended: Ended, ask: Snapshot) -> None:
    study, *_ = take_up(ended[0])
    study.look()
    stock = starter("stock").program_id
    scales = {scale.task: scale for scale in TaskSet.confirming(study).scales()}
    for family in ("east", "west"):
        sql = f"SELECT verified_gain FROM runs WHERE stream = 'selection' AND task LIKE '{family}-%'"
        searched = [row["verified_gain"] for row in ask(f"{sql} AND program_id = '{stock}'")]
        for number in (5, 6):
            assert scales[f"{family}-{number}"].stock.mean == pytest.approx(mean_interval(searched).mean)


def test_the_claim_is_the_mean_over_new_tasks_in_the_scales_of_their_families(ended: Ended, ask: Snapshot) -> None:
    d = ended[1].decision
    assert d.families == ("east", "west") and d.tasks == () and d.unit == UNIT
    study, *_ = take_up(ended[0])
    study.look()
    leads = []
    for scale in TaskSet.confirming(study).scales():
        sql = f"SELECT avg(verified_gain) AS gain FROM runs WHERE task = '{scale.task}' AND role"
        [best], [stock] = ask(f"{sql} = 'champion'"), ask(f"{sql} IN ('control', 'a/a')")
        leads.append((best["gain"] - stock["gain"]) / scale.size)
    assert d.tested.difference == pytest.approx(mean_interval(leads).mean) and d.champion.n == len(leads) == 4
    (aa,) = d.aa
    assert aa.task == "east, west" and aa.unit == UNIT and aa.n == 4


def test_a_family_that_was_left_out_has_one_test_of_its_own_at_the_end(ended: Ended, ask: Snapshot) -> None:
    (far,) = ended[1].decision.held_out
    assert far.task == "far" and far.champion is not None and far.champion.n == 2
    order = ask("SELECT purpose, min(started_at) AS first, max(started_at) AS last FROM matches GROUP BY purpose")
    times = {row["purpose"]: (row["first"], row["last"]) for row in order}
    assert times["reserve"][0] >= times["confirmation"][1]


def test_the_first_child_has_a_list_learnt_also_from_the_tasks_of_the_study(ended: Ended) -> None:
    study, *_ = take_up(ended[0])
    children = [m.operator for m in study.state.mutations if m.generation == 1]
    learnt = relearnt(study, 1)
    assert learnt.tasks == 2  # simulated knobs have no roles, so nothing is learnt from them and it proposes nothing
    assert ("learn-ideas" in children) == bool(learnt.items)


def test_the_page_says_what_the_figures_are_over(ended: Ended) -> None:
    folder, champion = ended
    rows = decided(champion.decision).rows
    assert {row.counted for row in rows if row.program == champion.program.name} == {"new task"}
    assert "4 new tasks" in (folder / "champion.evidence.md").read_text()


@pytest.mark.slow
def test_a_study_that_is_taken_up_again_says_the_same(ended: Ended, tmp_path: Path) -> None:
    taken_up_again(ended, tmp_path / "study")


def test_programs_are_shown_with_their_lead_over_stock_on_the_same_tasks(ended: Ended) -> None:
    of = f"program_scores('{starter('stock').program_id}') JOIN programs USING (program_id) -- runs scales"
    shown = query(ended[0], f"SELECT name, program_id, gain FROM {of}")
    stock = next(row for row in shown if row["name"] == "stock")
    assert stock["gain"] == pytest.approx(1.0)
    study, *_ = take_up(ended[0])
    study.look()
    with open_study(ended[0], views=()) as con:
        final = [m for m, event in study.state.matches.items() if event.purpose in FINAL]
        scores = {score.program_id: score for score in evidence_of(study, con, final).programs}
    measured = {row["program_id"]: row["gain"] for row in shown if row["gain"] is not None}
    assert len(measured) > 3 and measured == {p: pytest.approx(scores[p].mean) for p in measured}


def test_members_are_drawn_once_each_and_always_the_same_with_a_seed() -> None:
    families = Families([Task.load("tabular"), Task.load("letters")], [Task.load("strokes")])
    families.check()
    first, again, other = (draw(families, PLAN, seed) for seed in (7, 7, 8))
    assert first == again and first != other
    names = [*(t.folder.name for t in first.opening), *(Path(one.task).name for one in first.fresh + first.reserve)]
    assert len(set(names)) == len(names) == 2 * (1 + 1 + 2) + 2
    assert all(int(name.rpartition("-")[2]) >= 1000 for name in names)
    assert {one.stage for one in first.fresh} == {1, 2}


def test_the_plan_counts_every_run(ended: Ended, ask: Snapshot) -> None:
    study, *_ = take_up(ended[0])
    families = Families(TaskSet.of(study).tasks, [Task.load(study.config.reserve[0].task)])
    [made] = ask("SELECT count(*) AS n FROM runs")
    planned = sum(work.runs for work in works(PLAN, families))
    assert planned - 20 <= made["n"] <= planned  # programs that behave alike are run once


def test_a_member_whose_untouched_script_does_not_train_is_passed_over() -> None:
    families = Families([Task.load("tabular")])
    everything = draw(families, PLAN, 7)
    unfit = everything.opening[0].name
    other = draw(families, PLAN, 7, lambda task: task.name != unfit)
    names = [task.name for task in other.opening] + [Path(one.task).name for one in other.fresh]
    assert unfit not in names and len(set(names)) == 1 + 1 + 2
    with pytest.raises(UsageError, match="only 0 trains"):
        draw(families, PLAN, 7, lambda _: False)


def test_no_study_starts_from_one_over_families(ended: Ended) -> None:
    with pytest.raises(UsageError, match="searched on families of tasks"):
        past_study(ended[0], "studies/x")


def test_a_difference_between_tasks_is_no_noise_of_the_claim() -> None:
    """Both programs gain much more on some tasks than on others: only their difference counts."""
    easy, known = [1.0, 5.0, 9.0, 13.0], Against((), {})
    lead = {1.0: 0.5, 5.0: 0.51, 9.0: 0.49, 13.0: 0.5}
    scale = GainScale("hills", "nats", 1.0, False, mean_interval([]))
    gains: list[Gains] = [
        {"champion": [e + lead[e], e + lead[e] + 0.1], "control": [e, e + 0.1], "a/a": [e + 0.1, e]} for e in easy
    ]
    told = claim_over([(scale, one, known) for one in gains], ("hills",))
    assert told.holds and told.tested.difference == pytest.approx(0.5) and told.champion.n == 4
    (aa,) = told.aa
    assert aa.difference == pytest.approx(0.0) and (aa.low, aa.high) == (None, None)  # equal: no interval of width 0
    apart: list[Gains] = [
        {"champion": [gain + 4.0 + number / 100 for gain in one["control"]], "control": one["control"],
         "a/a": [gain + 1.0 + number / 10 for gain in one["control"]]}
        for number, one in enumerate(gains)
    ]  # fmt: skip
    off = claim_over([(scale, one, known) for one in apart], ("hills",))
    assert off.holds and (off.aa[0].low or 0) > 0  # two arms of stock differ on every task


def part_of(stage: dict[str, tuple[float, float]]) -> tuple[list[Evidence], list[GainScale]]:
    """The evidence of a stage of two tasks: the gains of programs on each, all in the same scale."""
    parts = []
    for number, runs in enumerate((2, 3)):
        scores = tuple(
            ProgramScore(name, name, f"t{number}", gains[number], 0.1, runs, gains[number], 0.1, None, None, None, 9, 0)
            for name, gains in stage.items()
        )
        parts.append(Evidence(f"t{number}", "nats", (), (), (), scores, 6, 60))
    scale = GainScale("t", "nats", 1.0, True, mean_interval([1.0, 1.1]))
    return parts, [scale, scale]


def test_programs_of_different_stages_are_compared_by_their_lead_over_stock() -> None:
    """The second stage has harder tasks; the program that ran there alone is the better one."""
    stages, scales = zip(*(part_of(stage) for stage in STAGES), strict=True)
    scores = {score.program_id: score for score in over_stages(stages, scales, "stock").programs}
    assert scores["early"].mean == pytest.approx(1 + 0.5) and scores["late"].mean == pytest.approx(1 + 0.8)
    assert scores["stock"].mean == pytest.approx(1.0) and scores["stock"].se > 0
    assert scores["both"].n == 4 and scores["both"].mean == pytest.approx(1 + 0.3)


STAGES = (
    {"stock": (3.0, 3.2), "early": (3.5, 3.7), "both": (3.2, 3.4)},
    {"stock": (1.0, 0.6), "late": (1.8, 1.4), "both": (1.4, 1.0)},
)


def test_edits_and_directives_have_their_mean_over_the_tasks_that_tried_them() -> None:
    """The gains 1 and 8 are 0.5 and 2 in the scales of their tasks, their standard errors 0.2 and 0.1."""
    north, south = edit("LR", 2, 1.0, se=0.4, df=15), edit("lr", 2.0, 8.0, se=0.4, df=15)
    told = [replace(idea("d", "", 1.0), program_ids=programs) for programs in (("a", "b"), ("b", "c"))]
    parts = [
        Evidence("north", "nats", (north,), (told[0],), (), (), 3, 30),
        Evidence("south", "nats", (south, edit("WD", 0, 4.0)), (told[1],), (), (), 3, 30),
    ]
    scales = [in_scale(size) for size in (2.0, 4.0)]
    found = over_tasks(parts, scales)
    assert [(row.knob, row.estimate, row.n) for row in found.edits] == [("LR", 1.25, 32), ("WD", 1.0, 16)]
    assert {row.unit for row in (*found.edits, *found.directives)} == {UNIT}
    assert found.edits[0].se == pytest.approx(math.hypot(0.2, 0.1) / 2) and found.edits[0].of == ("c-LR-2", "c-lr-2.0")
    assert [(row.estimate, row.program_ids) for row in found.directives] == [(0.375, ("a", "b", "c"))]


def test_mean_of_an_edit_that_failed_on_a_task_counts_its_failures_once() -> None:
    """Its gain where it ran is 0.5 in the scale of the task; on the other task all 16 tries failed."""
    ran = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    failed = replace(edit("LR", 2, 0.0, se=None), failures=16, is_measured=False)
    for parts in ((ran, failed), (failed, ran)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.estimate, row.se, row.n, row.failures, row.is_measured) == (0.5, 0.2, 32, 16, True)
        assert row.score == pytest.approx(0.25) and row.low is not None and row.p is not None
    [none] = over_tasks([one_edit(failed)] * 2, [in_scale(2.0)] * 2).edits
    assert (none.estimate, none.score, none.low, none.is_measured) == (0.0, 0.0, None, False)


def test_mean_of_an_edit_not_isolated_on_a_task_has_no_interval() -> None:
    clear = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    repair = replace(clear, is_isolated=False, p=None)
    for parts in ((clear, repair), (repair, clear)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.low, row.high, row.p, row.q, row.is_isolated) == (None, None, None, None, False)


def one_edit(row: EditCredit) -> Evidence:
    return Evidence("t", "nats", (row,), (), (), (), 3, 30)


def in_scale(size: float) -> GainScale:
    return GainScale("t", "nats", size, True, mean_interval([size]))


def test_a_plan_over_families_has_few_runs_on_many_tasks() -> None:
    plan = sized(replace(PLAN, family_tasks=0), "default")
    assert (plan.family_tasks, plan.family_confirm, plan.harvest_percent) == (3, 12, 0)
    with pytest.raises(UsageError, match="has no family"):
        Families([Task.load("tinylm")]).check()
