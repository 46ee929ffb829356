"""Programs on two simulated tasks whose truth is known: who plays, who shares figures, and what comes of it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from analysis.statistics import mean_interval, one_sided, ratio, shared_error, skewed_difference
from analysis.study import open_study, query
from analysis.transfer import Cell, transfer_cells
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
def told(played: Path) -> list[Cell]:
    with open_study(played, views=()) as con:
        return transfer_cells(con)


def test_everybody_plays_on_every_task_beside_stock_twice(played: Path) -> None:
    rows = query(played, "SELECT task, role, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    seen = {(row["task"], row["role"]): row["n"] for row in rows}
    assert seen["here", "control"] == seen["there", "control"] == seen["here", "a/a"] == RUNS
    assert seen["here", "program"] == 3 * RUNS
    assert ("here", "without-ideas") not in seen  # without their lists they are stock
    assert {row["b"] for row in query(played, "SELECT DISTINCT device_seconds_budget AS b FROM runs")} == {1.0}


def test_who_behaves_like_another_is_not_run_twice_and_shares_its_figures(told: list[Cell]) -> None:
    cells = {(c.task, c.name): c for c in told if c.role != "a/a"}
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


def test_cells_are_means_over_runs_and_tests_count_the_shared_baseline(played: Path, told: list[Cell]) -> None:
    runs = query(played, "SELECT task, program_id, role, verified_gain AS g FROM runs ORDER BY run_id")
    baselines = query(played, "SELECT task, metric FROM baselines ORDER BY task, seed")
    for cell in told:
        if cell.like_id or cell.role == "a/a":
            continue
        on = [r for r in runs if r["task"] == cell.task and r["role"] != "a/a"]
        own = [r["g"] for r in on if r["program_id"] == cell.program_id]
        stock = [r["g"] for r in runs if r["task"] == cell.task and r["role"] in ("control", "a/a")]  # one program
        assert cell.gain == pytest.approx(statistics.fmean(own)) and cell.n == len(own) == RUNS
        assert cell.stock_gain == pytest.approx(statistics.fmean(stock))
        if cell.role == "control":
            assert cell.p is None
            continue
        metrics = [b["metric"] for b in baselines if b["task"] == cell.task]
        assert len(metrics) == 8
        assert cell.ratio == ratio(cell.gain, mean_interval(stock)) and cell.ratio is not None
        apart = skewed_difference(own, stock, shared_error(metrics, 1.0, 1.0))  # all runs end at an edited source
        assert cell.p == pytest.approx(one_sided(apart))
        assert cell.p is not None and cell.p_adjusted is not None and cell.p <= cell.p_adjusted


def test_the_view_holds_the_cells(played: Path, told: list[Cell]) -> None:
    rows = query(played, "SELECT task, place, name, gain FROM transfer")
    assert [(r["task"], r["name"], r["gain"]) for r in rows] == [(c.task, c.name, c.gain) for c in told]
    assert {(r["task"], r["place"]) for r in rows} == {("here", "home"), ("there", "elsewhere")}


def test_taken_up_again_it_runs_nothing_and_says_the_same(played: Path, told: list[Cell]) -> None:
    count = "SELECT count(*) AS n FROM events WHERE kind <> 'segment'"
    before = query(played, count)
    play_transfer(Study.open(played), PROGRAMS, RUNS, True, silent)
    assert query(played, count) == before
    with open_study(played, views=()) as con:
        assert transfer_cells(con) == told


def test_one_task_has_no_rows(tmp_path: Path) -> None:
    study = abroad(tmp_path / "study", task_of(tmp_path / "here", HERE))
    play_transfer(study, (starter("local"),), 2, False, silent)
    assert query(tmp_path / "study", "FROM transfer") == []
