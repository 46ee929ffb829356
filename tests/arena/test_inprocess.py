"""Simulated studies in this process: the same figures as with workers, and resumed to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.drain import Drained
from arena.executor import LocalExecutor
from arena.inprocess import InProcessExecutor
from arena.match import Entry, enter, play
from arena.race import Allocation
from arena.study import Study
from programs.edit import set_charter
from programs.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from tests.studies import make_study, silent
from trainer.planted import random_law, simulated_task
from trainer.task import Task

FIGURES = """
SELECT 'experiment', experiment_id AS id, number, source_id, status, metric, decision, device_seconds_charged AS spent
FROM experiments
UNION ALL
SELECT 'verification', run_id, seed, trust, status, metric, stream, device_seconds_spent FROM verifications
ORDER BY ALL
"""


def simulated(folder: Path, law_seed: int = 1, **how: Any) -> Study:
    task = Task.load(simulated_task(random_law(law_seed, **how), folder.parent / "task", experiments=8))
    return Study.create(folder, task=task, run_budget=task.run_budget, command="match", workers=1, seed=4)


def race(study: Study, executor: LocalExecutor | InProcessExecutor, progress: Any = silent) -> None:
    entries = [Entry(starter("stock"), "control"), Entry(starter("local-screen")), Entry(starter("stock"), "a/a")]
    match = enter(study, "race", entries, purpose="race", stream="selection")
    play(study, executor, match, Allocation({arm.arm_id: 3 for arm in match.arms}), progress)


def played(study: Study, progress: Any = silent) -> list[dict[str, Any]]:
    with study, InProcessExecutor(study, progress) as executor:
        race(study, executor, progress)
    return query(study.folder, FIGURES)


def test_a_match_in_this_process_has_the_figures_of_worker_processes(tmp_path: Path) -> None:
    here = played(simulated(tmp_path / "here"))
    apart = simulated(tmp_path / "apart")
    with apart, LocalExecutor(apart.folder, 2, silent) as executor:
        race(apart, executor)
    assert here == query(apart.folder, FIGURES)
    assert len(here) > 3 * 3 * 8 and not any((tmp_path / "here" / "runs").iterdir())


def test_a_study_that_was_stopped_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    whole = played(simulated(tmp_path / "whole"))
    study, seen = simulated(tmp_path / "cut"), []

    def stop_soon(event: Mapping[str, Any]) -> None:
        seen.append(event)
        if len(seen) == 40:
            study.request_stop()

    with pytest.raises(Drained):
        played(study, stop_soon)
    assert 0 < len(query(study.folder, FIGURES)) < len(whole)
    assert played(Study.open(study.folder)) == whole


def test_drift_moves_verifications_and_leaves_runs_alone(tmp_path: Path) -> None:
    still = played(simulated(tmp_path / "one" / "s", drift=0.0))
    moved = played(simulated(tmp_path / "two" / "s", drift=0.1))
    search = [[row for row in rows if row["'experiment'"] == "experiment"] for rows in (still, moved)]
    assert search[0] == search[1]
    verified = [[row for row in rows if row["'experiment'"] == "verification"] for rows in (still, moved)]
    shifts = {round(b["metric"] - a["metric"], 9) for a, b in zip(*verified, strict=True) if a["status"] == "ok"}
    assert len(shifts) == 1 and shifts != {0.0}


def test_a_task_that_trains_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    with study, pytest.raises(UsageError, match="trains for real"):
        InProcessExecutor(study, silent)


def test_near_identical_programs_share_their_luck_and_strangers_do_not(tmp_path: Path) -> None:
    """What a run proposes is drawn anew for each arm, unless one charter field is all that sets two programs apart."""
    stock = starter("stock")
    near = Program.parse(set_charter(stock.text, "no_repeat", True), "near")
    far = Program.parse(set_charter(set_charter(stock.text, "no_repeat", True), "wave", 2), "far")
    entries = [Entry(p) for p in (stock, near, far, starter("local"))]
    study = simulated(tmp_path / "s")
    with study, InProcessExecutor(study, silent) as executor:
        match = enter(study, "kin", entries, purpose="generation", stream="selection")
        apart = enter(study, "test", entries, purpose="confirmation", stream="confirmation")
        play(study, executor, match, Allocation({arm.arm_id: 2 for arm in match.arms}), silent)
        kin = [arm.kin for arm in match.arms]
        assert kin == ["", match.arms[0].arm_id, match.arms[0].arm_id, ""] and not any(a.kin for a in apart.arms)
        assert [a.kin for a in enter(study, "kin", entries, purpose="generation", stream="selection").arms] == kin
        del study.history.matches[match.match_id]["arms"][1]["kin"]  # as an earlier version announced it
        assert enter(study, "kin", entries, purpose="generation", stream="selection").arms[1].kin == ""
    first = "SELECT r.arm_id, r.run_seed, e.source_id FROM experiments e JOIN runs r USING (run_id) WHERE e.number = 1"
    rows = query(study.folder, first)
    stock, close, _, local = (
        {(row["run_seed"], row["source_id"]) for row in rows if row["arm_id"] == arm.arm_id} for arm in match.arms
    )
    assert len(stock) == 2 and stock == close != local
