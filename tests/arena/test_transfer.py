"""Programs on two simulated tasks whose truth is known: who plays, who shares figures, and what comes of it."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from analysis.report.transfer import beside_one, one_task_only
from analysis.statistics import ratio
from analysis.study import open_study, query
from analysis.transfer import StudyTasks, Transfer, divisor, transfer, transfer_runs
from analysis.transfer_credit import WORDS, Across, State, TaskEstimate, across, outcome_of
from arena.settings import Reserved
from arena.setup import reference
from arena.study import Study
from arena.transfer import entered_on, play_transfer, variants_of
from programs.shelf import starter
from tests.studies import program, silent, study_on
from trainer.laws.law import Law
from trainer.laws.planted import simulated_task
from trainer.task import Task

RUNS = 6
HERE = {"both": 0.3, "mine": 0.3, "yours": 0.0, "trap": 0.3, "nought": 0.0, "only": 0.2}
THERE = {"both": 0.2, "mine": 0.0, "yours": 0.3, "trap": -0.3, "nought": 0.0}
TRUTH = {
    "+both": "everywhere", "+mine": "home", "+yours": "elsewhere", "+trap": "hurts", "+nought": "open",
    "+only": "absent",
}  # fmt: skip
QUEUE = "  proposers: {queue: 0.9, random: 0.1}\n"
OURS = program("ours", QUEUE, ("Try `both`.", "Try `mine`.", "Try `trap`."))
STRANGE = program("strange", QUEUE, ("Try `only`.",))  # its one idea is not there on the second task
PROGRAMS = (OURS, STRANGE, starter("local"))


def task_of(folder: Path, effects: dict[str, float]) -> Task:
    law = Law(dict.fromkeys(effects, False), {(name, True): gain for name, gain in effects.items()}, noise=0.02)
    return Task.load(simulated_task(law, folder, name=folder.name, experiments=10))


def abroad(folder: Path, home: Task, *others: Task) -> Study:
    further = [Reserved(task=reference(t), task_id=t.task_id, run_budget=10 * t.cost_seconds) for t in others]
    return study_on(folder, home, 10 * home.cost_seconds, command="transfer", seed=5, further=further)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("abroad")
    study = abroad(folder / "study", task_of(folder / "here", HERE), task_of(folder / "there", THERE))
    play_transfer(study, PROGRAMS, RUNS, True, silent)
    return folder / "study"


@pytest.fixture(scope="module")
def told(played: Path) -> Transfer:
    with open_study(played, views=()) as con:
        return transfer(con)


@pytest.fixture(scope="module")
def moved(played: Path, told: Transfer) -> dict[tuple[str, str], Across]:
    with open_study(played, views=()) as con:
        return {(row.method, row.label): row for row in across(con, told.tasks, told.cells, transfer_runs(con))}


def test_everybody_plays_on_every_task_beside_stock_twice(played: Path) -> None:
    rows = query(played, "SELECT task, role, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    seen = {(row["task"], row["role"]): row["n"] for row in rows}
    assert seen["here", "control"] == seen["there", "control"] == seen["here", "a/a"] == RUNS
    assert seen["here", "program"] == 3 * RUNS
    assert ("here", "without-ideas") not in seen  # without their lists they are stock
    assert {row["b"] for row in query(played, "SELECT DISTINCT device_seconds_budget AS b FROM runs")} == {1.0}


def test_who_behaves_like_another_is_not_run_twice_and_shares_its_figures(told: Transfer) -> None:
    cells = {(c.task, c.name): c for c in told.cells if c.role != "a/a"}
    stock = cells["here", "stock"]
    bare = cells["here", "ours-without-ideas"]
    assert (bare.like_id, bare.gain, bare.n) == (stock.program_id, stock.gain, stock.n)
    alone = cells["there", "strange-without-ideas"]
    assert alone.like_id == cells["there", "strange"].program_id and alone.ratio == cells["there", "strange"].ratio


def test_a_program_that_behaves_like_stock_is_not_run(tmp_path: Path) -> None:
    there = task_of(tmp_path / "there", THERE)
    plain = program("plain", ideas=("Try `only`.",))  # nobody reads a list where there is no queue
    who = entered_on(there, "scripted", (plain, starter("local")), True)
    assert [(e.program.name, e.role) for e in who.entries] == [("stock", "control"), ("local", "program"),
                                                               ("stock", "a/a")]  # fmt: skip
    assert {(a.name, b.name) for a, b in who.alike} == {("plain", "stock"), ("plain-without-ideas", "stock")}
    assert not entered_on(there, "chat", (plain,), True).alike  # every word may matter to a model


def test_a_list_that_names_nothing_there_is_not_run_without_it(tmp_path: Path) -> None:
    there = task_of(tmp_path / "there", THERE)
    who = entered_on(there, "scripted", (STRANGE,), True)
    assert [(a.name, b.name) for a, b in who.alike] == [("strange-without-ideas", "strange")]
    assert [v.name for _, v in variants_of((STRANGE, starter("local")))] == ["strange-without-ideas"]


def test_cells_are_means_over_runs_and_ratios_count_the_shared_baseline(played: Path, told: Transfer) -> None:
    runs = query(played, "SELECT task, program_id, role, verified_gain AS g FROM runs ORDER BY run_id")
    baselines = query(played, "SELECT task, metric FROM baselines ORDER BY task, seed")
    for cell in told.cells:
        if cell.like_id or cell.role == "a/a":
            continue
        on = [r for r in runs if r["task"] == cell.task and r["role"] != "a/a"]
        own = [r["g"] for r in on if r["program_id"] == cell.program_id]
        stock = [r["g"] for r in runs if r["task"] == cell.task and r["role"] in ("control", "a/a")]  # one program
        assert cell.gain == pytest.approx(statistics.fmean(own)) and cell.n == len(own) == RUNS
        assert cell.stock_gain == pytest.approx(statistics.fmean(stock))
        if cell.role == "control":
            assert cell.ratio == 1.0 and cell.p is None
            continue
        metrics = [b["metric"] for b in baselines if b["task"] == cell.task]
        assert len(metrics) == 8
        expected = ratio(own, stock, baseline=metrics)  # all runs end at an edited source
        assert (cell.ratio, cell.ratio_lower) == pytest.approx((expected.ratio, expected.lower))
        assert cell.p is not None and cell.p_adjusted is not None and cell.p <= cell.p_adjusted


def test_the_view_holds_the_cells(played: Path, told: Transfer) -> None:
    rows = query(played, "SELECT task, place, name, gain FROM transfer")
    assert [(r["task"], r["name"], r["gain"]) for r in rows] == [(c.task, c.name, c.gain) for c in told.cells]
    assert {(r["task"], r["place"]) for r in rows} == {("here", "home"), ("there", "elsewhere")}


def test_edits_are_sorted_as_the_laws_have_it(moved: dict[tuple[str, str], Across]) -> None:
    found = {label: row.outcome for (method, label), row in moved.items() if method == "edit"}
    assert found == TRUTH


def test_estimates_stand_in_units_of_stock_s_gain(
    told: Transfer, moved: dict[tuple[str, str], Across]
) -> None:  # fmt: skip
    row = moved["edit", "+both"]
    stock = {task: divisor([cell for cell in told.cells if cell.task == task]) for task in told.tasks.all}
    for there, truth in zip(row.there, (HERE["both"], THERE["both"]), strict=True):
        assert there.estimate == pytest.approx(truth, abs=0.03)
        assert there.scaled == pytest.approx((there.estimate or math.nan) / stock[there.task].gain)  # type: ignore[union-attr, operator]
    only = moved["edit", "+only"]
    assert [t.state for t in only.there] == ["gain", "absent"]


def test_cited_ideas_are_sorted_and_never_said_to_cause(moved: dict[tuple[str, str], Across]) -> None:
    ideas = {label: row for (method, label), row in moved.items() if method == "tries" and row.kind == "idea"}
    assert ideas["Try `both`."].outcome == "everywhere" and ideas["Try `mine`."].outcome == "home"
    assert ideas["Try `trap`."].outcome == "hurts"
    assert ideas["Try `only`."].outcome == "absent" and ideas["Try `only`."].there[1].state == "absent"
    assert all(not row.causal and "associated with" in row.words for row in ideas.values() if row.outcome != "absent")


def test_an_idea_list_is_set_against_the_same_program_without_it(
    told: Transfer, moved: dict[tuple[str, str], Across]
) -> None:  # fmt: skip
    row = moved["without-ideas", "the idea list of ours"]
    assert row.causal and row.design == "paired"
    gains = {(c.task, c.name): c.gain or 0.0 for c in told.cells if c.role != "a/a"}
    for there in row.there:
        expected = gains[there.task, "ours"] - gains[there.task, "ours-without-ideas"]
        assert there.estimate == pytest.approx(expected) and there.n == RUNS
    assert moved["without-ideas", "the idea list of strange"].there[1].state == "absent"


def test_taken_up_again_it_runs_nothing_and_says_the_same(played: Path, told: Transfer) -> None:
    count = "SELECT count(*) AS n FROM events WHERE kind <> 'segment'"
    before = query(played, count)
    play_transfer(Study.open(played), PROGRAMS, RUNS, True, silent)
    assert query(played, count) == before
    with open_study(played, views=()) as con:
        assert transfer(con) == told


def test_one_task_has_no_rows(tmp_path: Path) -> None:
    study = abroad(tmp_path / "study", task_of(tmp_path / "here", HERE))
    play_transfer(study, (starter("local"),), 2, False, silent)
    assert query(tmp_path / "study", "FROM transfer") == []


def test_one_task_with_a_drawn_one_has_no_charts_of_its_own() -> None:
    said = beside_one(StudyTasks(("here",), ("there",)), {"there"})
    assert said == "The gains of the programs on here and on the held-out there are in the part Standings. "
    assert not beside_one(StudyTasks(("here",), ("there",)), set())
    assert not beside_one(StudyTasks(("here", "too"), ("there",)), {"there"})


@pytest.mark.parametrize(
    ("states", "outcome"), [(("gain", "untried"), "alone"), (("gain", "open"), "part"), (("open", "untried"), "open")]
)
def test_a_gain_on_one_task_is_never_called_not_significant(states: tuple[State, State], outcome: str) -> None:
    """A list that ran on the training task only, or whose gain on the other task is open."""
    there = tuple(
        TaskEstimate(task, state, None if state == "untried" else 1.0)
        for task, state in zip(("here", "there"), states, strict=True)
    )
    row = Across("without-ideas", "p1", "the idea list of p1", "ideas", there)
    found = outcome_of(row, StudyTasks(("here",), ("there",)), frozenset())
    assert bool(one_task_only({"without-ideas": [row]})) == ("untried" in states)  # the report has no chart of it
    assert found == outcome and (WORDS[found][0] == "not significant") == (outcome == "open")
