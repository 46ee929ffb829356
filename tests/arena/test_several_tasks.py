"""A match on two simulated tasks whose truth is known: who is one arm where, and what comes of it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from analysis.statistics import mean_interval, ratio
from analysis.study import open_study, query
from analysis.transfer import Cell, transfer_cells
from arena.arms import Entry
from arena.standalone import alike, play_entries
from arena.study.setup import beside
from arena.study.study import Study
from bench.simulated_tasks import simulated_task
from programs.shelf import starter
from tests.studies import program, silent, study_on
from trainer.laws.law import Law
from trainer.task import Task

RUNS = 6
HERE = {"both": 0.3, "mine": 0.3, "trap": 0.3, "nought": 0.0, "only": 0.2}
THERE = {"both": 0.2, "mine": 0.0, "trap": -0.3, "nought": 0.0}
QUEUE = "  proposers: {queue: 0.9, random: 0.1}\n"
OURS = program("ours", QUEUE, ("Try `both`.", "Try `trap`."))
MORE = program("more", QUEUE, ("Try `both`.", "Try `trap`.", "Try `only`."))  # `only` is not there on the second task
PLAIN = program("plain", ideas=("Try `only`.",))  # nobody reads a list where there is no queue
STOCK = starter("stock")
ENTRIES = (Entry(OURS), Entry(MORE), Entry(PLAIN), Entry(STOCK, "control"), Entry(STOCK, "a/a"))


def task_of(folder: Path, effects: dict[str, float]) -> Task:
    law = Law(dict.fromkeys(effects, False), {(name, True): gain for name, gain in effects.items()}, noise=0.02)
    return Task.load(simulated_task(law, folder, name=folder.name, experiments=10))


def study_in(folder: Path) -> Study:
    here, there = task_of(folder / "here", HERE), task_of(folder / "there", THERE)
    budget = 10 * here.cost_seconds
    return study_on(folder / "study", here, budget, seed=5, further=beside(here, budget, [there]))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = study_in(tmp_path_factory.mktemp("several"))
    assert len(play_entries(study, ENTRIES, RUNS, silent)) == 2
    return study.folder


@pytest.fixture(scope="module")
def told(played: Path) -> list[Cell]:
    with open_study(played, views=()) as con:
        return transfer_cells(con)


def test_programs_that_behave_alike_are_one_arm_with_all_names(played: Path) -> None:
    rows = query(played, "SELECT task, name, role, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    assert {row["n"] for row in rows} == {RUNS}
    stock = [("stock", "a/a"), ("stock = plain", "control")]
    assert [(row["name"], row["role"]) for row in rows if row["task"] == "here"] == [
        ("more", "program"), ("ours", "program"), *stock,
    ]  # fmt: skip
    assert [(row["name"], row["role"]) for row in rows if row["task"] == "there"] == [
        ("ours = more", "program"), *stock,
    ]  # fmt: skip
    assert {row["name"] for row in query(played, "FROM programs")} == {"ours", "more", "plain", "stock"}
    assert {row["b"] for row in query(played, "SELECT DISTINCT device_seconds_budget AS b FROM runs")} == {1.0}
    here = Study.open(played).task
    assert len(alike(ENTRIES, here, "chat")) == len(ENTRIES)  # every word may matter to a model


def test_cells_are_means_over_runs_beside_stock(played: Path, told: list[Cell]) -> None:
    runs = query(played, "SELECT task, program_id, role, verified_gain AS g FROM runs ORDER BY run_id")
    assert {(cell.task, cell.place) for cell in told} == {("here", "home"), ("there", "elsewhere")}
    for cell in told:
        own = [
            r["g"]
            for r in runs
            if (r["task"], r["program_id"]) == (cell.task, cell.program_id)
            and (r["role"] == "a/a") == (cell.role == "a/a")
        ]
        stock = [r["g"] for r in runs if r["task"] == cell.task and r["role"] in ("control", "a/a")]  # one program
        assert cell.gain == pytest.approx(statistics.fmean(own)) and cell.n == len(own) == RUNS
        assert cell.stock_gain == pytest.approx(statistics.fmean(stock))
        assert cell.ratio == ratio(cell.gain, mean_interval(stock)) and cell.ratio is not None


def test_view_holds_the_cells_and_an_ended_match_is_not_replayed(played: Path, told: list[Cell]) -> None:
    rows = query(played, "SELECT task, name, gain FROM transfer")
    assert [(r["task"], r["name"], r["gain"]) for r in rows] == [(c.task, c.name, c.gain) for c in told]
    count = "SELECT count(*) AS n FROM events WHERE kind <> 'segment'"
    before = query(played, count)
    play_entries(Study.open(played), ENTRIES, RUNS, silent)
    assert query(played, count) == before


def test_one_task_has_no_rows(tmp_path: Path) -> None:
    here = task_of(tmp_path / "here", HERE)
    play_entries(study_on(tmp_path / "study", here, 10 * here.cost_seconds), ENTRIES[3:], 2, silent)
    assert query(tmp_path / "study", "FROM transfer") == []
