"""Matches: on real training, with equal budgets, shared seeds and verified gains; on one or two simulated tasks whose
truth is known, with races, drift and pairs of near programs."""

from __future__ import annotations

import statistics
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from analysis.statistics import mean_interval, ratio
from analysis.study import open_study, query
from analysis.transfer import Cell, transfer_cells
from arena.arms import Entry, Match, enter
from arena.match import play
from arena.race import Allocation
from arena.standalone import RACE_FIRST, alike, play_entries, racer
from arena.study.setup import beside
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from bench.simulated_tasks import COST, null_law, random_law, simulated_task
from meta.confirmation import final_samples
from programs.common.errors import UsageError
from programs.program import Program
from programs.settings import set_charter
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import RUN_BUDGET, make_study, program, silent, study_on
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited
from trainer.data import DataStore
from trainer.laws.law import Law
from trainer.streams import Stream
from trainer.task import Task

STOCK = program("stock")
QUEUES = "  proposers: {queue: 1.0}\n"
QUEUE = program("queue", QUEUES, ("Raise `lr=0.3`.", "Then `momentum=0.9`."))

PlayedMatch = tuple[Study, Match]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedMatch:
    study = make_study(tmp_path_factory.mktemp("match") / "study", workers=2)
    entries = [Entry(STOCK, "control"), Entry(QUEUE), Entry(STOCK, "a/a")]
    return study, play_entries(study, entries, 2, silent)[0]


def test_every_run_is_charged_exactly_its_budget(played: PlayedMatch) -> None:
    runs = query(played[0].folder, "SELECT device_seconds_budget AS b, device_seconds_charged AS c, state FROM runs")
    assert len(runs) == 6
    assert all(run == {"b": RUN_BUDGET, "c": RUN_BUDGET, "state": "finished"} for run in runs)


def test_device_time_of_a_study_is_of_its_runs_and_measurements(played: PlayedMatch) -> None:
    folder = played[0].folder
    shown = query(folder, "FROM device_time()")
    of_runs = query(
        folder, "SELECT device_seconds_spent AS spent, device_seconds_charged + overshoot AS charged FROM runs"
    )
    measured = query(folder, "SELECT record ->> 'device_seconds_spent' AS spent FROM events "
                     "WHERE kind IN ('verification', 'baseline')")  # fmt: skip
    spent = sum(row["spent"] for row in of_runs), sum(float(row["spent"]) for row in measured)
    found = (sum(row["spent_seconds"] for row in shown if row["paid_by"] == payer) for payer in ("run", "arena"))
    assert tuple(found) == pytest.approx(spent, abs=1e-5)  # each part is rounded
    charged = sum(row["charged_seconds"] or 0.0 for row in shown)
    assert charged == pytest.approx(sum(row["charged"] for row in of_runs), abs=1e-5)


def test_gain_is_the_mean_over_fresh_seeds_on_the_same_rows(played: PlayedMatch) -> None:
    folder = played[0].folder
    trained = query(folder, "SELECT metric, splits FROM baselines WHERE stream = 'selection'")
    scores = [row["splits"] for row in trained]
    assert [row["metric"] for row in trained] == pytest.approx([fmean(score.values()) for score in scores])
    assert len(scores) == 8
    rows = query(folder, "SELECT v.*, r.verified_gain FROM verifications v JOIN runs r USING (run_id)")
    for row in rows:
        assert row["baseline_metric"] == pytest.approx(fmean(score[row["split"]] for score in scores))
        if row["status"] == "ok":
            assert row["gain"] == pytest.approx(row["baseline_metric"] - row["metric"])
    recomputed = query(
        folder,
        "SELECT arm_id, avg(g) AS gain FROM "
        "(SELECT arm_id, run_id, avg(gain) AS g FROM verifications GROUP BY ALL) GROUP BY 1",
    )
    standings = {row["arm_id"]: row["gain"] for row in query(folder, "SELECT arm_id, gain FROM standings")}
    assert standings == pytest.approx({row["arm_id"]: row["gain"] for row in recomputed})


def test_arms_share_seeds_and_hidden_rows_of_their_own(played: PlayedMatch) -> None:
    """The A/A twin draws its own run seeds; verification uses no seed that a researcher saw."""
    folder = played[0].folder
    rows = query(folder, "SELECT role, list(run_seed ORDER BY run_seed) AS seeds FROM runs GROUP BY 1")
    seeds = {row["role"]: row["seeds"] for row in rows}
    assert seeds["control"] == seeds["program"] and not set(seeds["control"]) & set(seeds["a/a"])
    seen = {row["seed"] for row in query(folder, "SELECT seed FROM experiments")}
    fresh = {row["seed"] for row in query(folder, "SELECT seed FROM verifications UNION SELECT seed FROM baselines")}
    assert fresh and not seen & fresh
    rows = query(folder, "SELECT a.role, v.run_id, v.split FROM verifications v JOIN arms a USING (arm_id)")
    by_role = {role: sorted(r["split"] for r in rows if r["role"] == role) for role in ("control", "program", "a/a")}
    assert by_role["control"] == by_role["program"] == by_role["a/a"]
    assert len(set(by_role["control"])) == len(by_role["control"]) == 4
    data = DataStore(played[0].task, played[0].streams, folder / "data")
    inputs = [np.load(data.labelled(label).split("selection") / "inputs.npy") for label in by_role["control"][:2]]
    assert not np.array_equal(*inputs)


def test_without_a_sandbox_a_run_that_kept_nothing_says_so_too(tmp_path: Path) -> None:
    task = Task.load(BLOBS)
    budget = task.steps * task.seconds_per_step
    study = study_on(tmp_path / "bare", task, budget, fixed_steps=True, sandbox=False)
    play_entries(study, [Entry(STOCK)], 1, silent)
    sql = "SELECT DISTINCT kept, s.trust FROM standings AS s JOIN runs USING (arm_id)"
    assert query(study.folder, sql) == [{"kept": 0, "trust": "unverified"}]


def test_verification_that_breaks_hard_constraint_gains_nothing(tmp_path: Path) -> None:
    limits = LATENCY.replace("= 6", "= 8") + MEMORY.replace("= 50", "= 20") + SOFT  # latency is 9 ms under odd seeds
    task = limited(tmp_path / "task", limits)
    study = study_on(tmp_path / "study", task, 0.6, workers=2, fixed_steps=True)
    play_entries(
        study, [Entry(program("stock"), "control"), Entry(program("queue", QUEUES, ("Set `pad=20`.",)))], 3, silent
    )
    sql = "SELECT v.* FROM verifications AS v JOIN arms USING (arm_id) WHERE role = 'program' AND status != 'baseline'"
    verified = query(study.folder, sql)
    broken = [row for row in verified if row["status"] == "invalid"]
    fine = [row for row in verified if row["status"] == "ok"]
    assert broken and fine and len(broken) + len(fine) == len(verified)
    assert all(row["gain"] == 0.0 and row["metric"] is None and row["constraints"]["latency"] == 9.0 for row in broken)
    assert all(row["gain"] > 0.1 and row["constraints"]["memory"] > 20 for row in fine)
    assert {row["reason"] for row in broken} == {"constraint latency: 9 ms, needed at most 8 ms"}
    rows = {(row["role"], row["name"]): row for row in query(study.folder, "FROM constraints")}
    assert set(rows) == {(role, name) for role in ("control", "program") for name in ("latency", "memory")}
    latency, memory = rows["program", "latency"], rows["program", "memory"]
    assert (latency["at_most"], latency["at_least"], latency["unit"], latency["hard"]) == (8.0, None, "ms", True)
    assert (latency["n"], latency["broken"]) == (len(verified), len(broken))
    assert (latency["least"], latency["most"]) == (7.0, 9.0)
    assert memory["n"] == memory["broken"] == len(verified) and memory["hard"] is False
    (untouched,) = query(study.folder, "SELECT min(constraints -> 'latency') AS least FROM baselines")
    assert float(untouched["least"]) == 5.0


RUNS = 6
HERE = {"both": 0.3, "mine": 0.3, "trap": 0.3, "nought": 0.0, "only": 0.2}
THERE = {"both": 0.2, "mine": 0.0, "trap": -0.3, "nought": 0.0}
BY_QUEUE = "  proposers: {queue: 0.9, random: 0.1}\n"
OURS = program("ours", BY_QUEUE, ("Try `both`.", "Try `trap`."))
MORE = program(
    "more", BY_QUEUE, ("Try `both`.", "Try `trap`.", "Try `only`.")
)  # `only` is not there on the second task
PLAIN = program("plain", ideas=("Try `only`.",))  # nobody reads a list where there is no queue
SHELF_STOCK = starter("stock")
ENTRIES = (Entry(OURS), Entry(MORE), Entry(PLAIN), Entry(SHELF_STOCK, "control"), Entry(SHELF_STOCK, "a/a"))


def task_of(folder: Path, effects: dict[str, float]) -> Task:
    law = Law(dict.fromkeys(effects, False), {(name, True): gain for name, gain in effects.items()}, noise=0.02)
    return Task.load(simulated_task(law, folder, name=folder.name, experiments=10))


def study_on_two(folder: Path) -> Study:
    here, there = task_of(folder / "here", HERE), task_of(folder / "there", THERE)
    budget = 10 * here.cost_seconds
    return study_on(folder / "study", here, budget, seed=5, further=beside(here, budget, [there]))


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = study_on_two(tmp_path_factory.mktemp("several"))
    assert len(play_entries(study, ENTRIES, RUNS, silent)) == 2
    return study.folder


@pytest.fixture(scope="module")
def cells(on_two: Path) -> list[Cell]:
    with open_study(on_two, views=()) as con:
        return transfer_cells(con)


def test_programs_that_behave_alike_are_one_arm_with_all_names(on_two: Path) -> None:
    rows = query(on_two, "SELECT task, name, role, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    assert {row["n"] for row in rows} == {RUNS}
    stock = [("stock", "a/a"), ("stock = plain", "control")]
    assert [(row["name"], row["role"]) for row in rows if row["task"] == "here"] == [
        ("more", "program"), ("ours", "program"), *stock,
    ]  # fmt: skip
    assert [(row["name"], row["role"]) for row in rows if row["task"] == "there"] == [
        ("ours = more", "program"), *stock,
    ]  # fmt: skip
    assert {row["name"] for row in query(on_two, "FROM programs")} == {"ours", "more", "plain", "stock"}
    assert {row["b"] for row in query(on_two, "SELECT DISTINCT device_seconds_budget AS b FROM runs")} == {1.0}
    here = Study.open(on_two).task
    assert len(alike(ENTRIES, here, "chat")) == len(ENTRIES)  # every word may matter to a model


def test_cells_are_means_over_runs_beside_stock(on_two: Path, cells: list[Cell]) -> None:
    runs = query(on_two, "SELECT task, program_id, role, verified_gain AS g FROM runs ORDER BY run_id")
    assert {(cell.task, cell.place) for cell in cells} == {("here", "home"), ("there", "elsewhere")}
    for cell in cells:
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


def test_view_holds_the_cells_and_an_ended_match_is_not_replayed(on_two: Path, cells: list[Cell]) -> None:
    rows = query(on_two, "SELECT task, name, gain FROM transfer")
    assert [(r["task"], r["name"], r["gain"]) for r in rows] == [(c.task, c.name, c.gain) for c in cells]
    count = "SELECT count(*) AS n FROM events WHERE kind <> 'segment'"
    before = query(on_two, count)
    play_entries(Study.open(on_two), ENTRIES, RUNS, silent)
    assert query(on_two, count) == before


def test_race_spends_its_bill_and_the_twin_gets_the_first_runs(tmp_path: Path) -> None:
    """On one task, which has no row of transfer."""
    task = Task.load(simulated_task(random_law(3), tmp_path / "task", experiments=6))
    study, names, runs = (
        study_on(tmp_path / "s", task, seed=3),
        ("stock", "idea-queue", "local-screen", "confirm-last"),
        6,
    )
    entries = [Entry(starter(name), "control" if name == "stock" else "program") for name in names]
    with study, InProcessExecutor(study, silent) as executor:
        for entry in entries:
            study.admit(entry.program, generation=0, operator="entry")
        on, twin = TaskStudy(study), Entry(SHELF_STOCK, "a/a")
        match = enter(on, "match", [*entries, twin], purpose="race", stream="selection")
        play(on, executor, match, racer(study, match, runs, 3), silent)
    sql = "SELECT role, name, count(*) AS n FROM runs WHERE state = 'finished' GROUP BY ALL"
    counts = {(row["role"], row["name"]): row["n"] for row in query(study.folder, sql)}
    assert counts.pop(("a/a", "stock")) == RACE_FIRST
    assert sum(counts.values()) <= runs * len(names) and min(counts.values()) >= RACE_FIRST
    assert len(set(counts.values())) > 1
    assert query(study.folder, "FROM transfer") == []


def on_law(folder: Path, law: Law, budget: float | None = None, experiments: int = 8) -> Study:
    task = Task.load(simulated_task(law, folder.parent / "task", experiments=experiments))
    return study_on(folder, task, budget, seed=4)


def figures(study: Study, entries: list[Entry], stream: Stream, sql: str) -> list[dict[str, Any]]:
    """The rows after a match of three runs each."""
    purpose = "confirmation" if stream == "confirmation" else "race"
    with study, InProcessExecutor(study, silent) as executor:
        match = enter(TaskStudy(study), "race", entries, purpose=purpose, stream=stream)
        play(TaskStudy(study), executor, match, Allocation({arm.arm_id: 3 for arm in match.arms}), silent)
    return query(study.folder, sql)


def test_drift_moves_verifications_and_leaves_runs_alone(tmp_path: Path) -> None:
    entries = [Entry(starter("stock"), "control"), Entry(starter("local-screen")), Entry(starter("stock"), "a/a")]
    search, verified = [], []
    for drift in (0.0, 0.1):
        study = on_law(tmp_path / str(drift) / "s", random_law(1, drift=drift))
        sql = "SELECT run_id, seed, status, metric, trust, device_seconds_spent FROM verifications ORDER BY ALL"
        verified.append(figures(study, entries, "selection", sql))
        columns = "experiment_id, source_id, status, metric, decision, device_seconds_charged"
        search.append(query(study.folder, f"SELECT {columns} FROM experiments ORDER BY ALL"))
    assert search[0] == search[1]
    shifts = {round(b["metric"] - a["metric"], 9) for a, b in zip(*verified, strict=True) if a["status"] == "ok"}
    assert len(shifts) == 1 and shifts != {0.0}


def test_a_task_that_trains_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    with study, pytest.raises(UsageError, match="trains for real"):
        InProcessExecutor(study, silent)


def test_near_identical_programs_are_paired_and_others_are_not(tmp_path: Path) -> None:
    """What a run proposes is drawn anew for each arm, unless one charter field is all that sets two programs apart."""
    stock = starter("stock")
    near = Program.parse(set_charter(stock.text, "no_repeat", True), "near")
    far = Program.parse(set_charter(set_charter(stock.text, "no_repeat", True), "wave", 2), "far")
    entries = [Entry(p) for p in (stock, near, far, starter("local"))]
    study = on_law(tmp_path / "s", random_law(1))
    with study, InProcessExecutor(study, silent) as executor:
        on, settings = TaskStudy(study), dict[str, Any](purpose="generation", stream="selection")
        match = enter(on, "near", entries, **settings)
        apart = enter(on, "test", entries, purpose="confirmation", stream="confirmation")
        play(on, executor, match, Allocation({arm.arm_id: 2 for arm in match.arms}), silent)
        first, pairs = match.arms[0].arm_id, [arm.paired_with for arm in match.arms]
        assert pairs == ["", first, first, ""] and not any(arm.paired_with for arm in apart.arms)
        assert [arm.paired_with for arm in enter(on, "near", entries, **settings).arms] == pairs
    first = "SELECT r.arm_id, r.run_seed, e.source_id FROM experiments e JOIN runs r USING (run_id) WHERE e.number = 1"
    rows = query(study.folder, first)
    stock, close, _, local = (
        {(row["run_seed"], row["source_id"]) for row in rows if row["arm_id"] == arm.arm_id} for arm in match.arms
    )
    assert len(stock) == 2 and stock == close != local


def test_run_that_ends_at_the_baseline_is_trained_again_for_good(tmp_path: Path) -> None:
    """So it shares what all verifications of a match share; a gain of exactly 0 would not. Runs have the time of one
    experiment, so they end where they began; a match shifts its verifications."""
    law = null_law(1, noise=0.0, drift=0.1, crash_rate=0.0)
    entries = [Entry(starter("local"), "champion"), Entry(starter("stock"), "control")]
    sql = "SELECT run_id, match_id, status, gain, trust FROM verifications ORDER BY ALL"
    chosen = figures(on_law(tmp_path / "one" / "s", law, COST, 1), entries, "selection", sql)
    assert {(row["status"], row["gain"], row["trust"]) for row in chosen} == {("baseline", 0.0, "")}
    study = on_law(tmp_path / "two" / "s", law, COST, 1)
    final = figures(study, entries, "confirmation", sql)
    assert len(final) == len(chosen) and {(row["status"], row["trust"]) for row in final} == {("ok", "verified")}
    (drift,) = {round(row["gain"], 12) for row in final}  # without noise it is all that there is
    assert abs(drift) > 1e-3
    _, measured = final_samples(TaskStudy(study), final[0]["match_id"])
    assert measured.touched == {"champion": 1.0, "control": 1.0}
