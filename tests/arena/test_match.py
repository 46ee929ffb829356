"""Matches on real training: equal budgets, seeds from one list, verified gains, resume."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from analysis.study import query
from arena.arms import Entry, Match
from arena.standalone import play_entries
from arena.study.study import Study
from tests.inner_loop.play import BLOBS
from tests.studies import RUN_BUDGET, make_study, program, silent, study_on
from trainer.data import DataStore
from trainer.task import Task

STOCK = program("stock")
QUEUE = program("queue", "  proposers: {queue: 1.0}\n", ("Raise `lr=0.3`.", "Then `momentum=0.9`."))

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


def test_arms_share_run_seeds_and_the_twin_draws_its_own(played: PlayedMatch) -> None:
    rows = query(
        played[0].folder,
        "SELECT role, list(run_seed ORDER BY run_seed) AS seeds FROM runs GROUP BY 1",
    )
    seeds = {row["role"]: row["seeds"] for row in rows}
    assert seeds["control"] == seeds["program"]
    assert not set(seeds["control"]) & set(seeds["a/a"])


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


def test_verification_has_hidden_rows_of_its_own_shared_by_arms(played: PlayedMatch) -> None:
    rows = query(played[0].folder, "SELECT a.role, v.run_id, v.split FROM verifications v JOIN arms a USING (arm_id)")
    by_role = {role: sorted(r["split"] for r in rows if r["role"] == role) for role in ("control", "program", "a/a")}
    assert by_role["control"] == by_role["program"] == by_role["a/a"]
    assert len(set(by_role["control"])) == len(by_role["control"]) == 4
    data = DataStore(played[0].task, played[0].streams, played[0].folder / "data")
    inputs = [np.load(data.labelled(label).split("selection") / "inputs.npy") for label in by_role["control"][:2]]
    assert not np.array_equal(*inputs)


def test_verification_uses_no_seed_that_a_researcher_saw(played: PlayedMatch) -> None:
    folder = played[0].folder
    seen = {row["seed"] for row in query(folder, "SELECT seed FROM experiments")}
    fresh = {row["seed"] for row in query(folder, "SELECT seed FROM verifications UNION SELECT seed FROM baselines")}
    assert fresh and not seen & fresh


def test_without_a_sandbox_a_run_that_kept_nothing_says_so_too(tmp_path: Path) -> None:
    task = Task.load(BLOBS)
    budget = task.steps * task.seconds_per_step
    study = study_on(tmp_path / "bare", task, budget, fixed_steps=True, sandbox=False)
    play_entries(study, [Entry(STOCK)], 1, silent)
    sql = "SELECT DISTINCT kept, s.trust FROM standings AS s JOIN runs USING (arm_id)"
    assert query(study.folder, sql) == [{"kept": 0, "trust": "unverified"}]
