"""Simulated studies in this process: the same figures as with workers, and resumed to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.arms import Entry, Match, enter
from arena.match import play
from arena.race import Allocation
from arena.study.study import Study
from arena.study.task_study import TaskStudy
from arena.work.executors.in_process import InProcessExecutor
from arena.work.executors.local import LocalExecutor
from bench.simulated_tasks import COST, null_law, random_law, simulated_task
from meta.confirmation import final_samples
from programs.common.errors import UsageError
from programs.program import Program
from programs.settings import set_charter
from programs.shelf import starter
from tests.studies import make_study, silent, study_on
from trainer.streams import Stream
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
    return study_on(folder, task, seed=4)


def race(study: Study, executor: LocalExecutor | InProcessExecutor, progress: Any = silent) -> None:
    entries = [Entry(starter("stock"), "control"), Entry(starter("local-screen")), Entry(starter("stock"), "a/a")]
    match = enter(TaskStudy(study), "race", entries, purpose="race", stream="selection")
    play(TaskStudy(study), executor, match, Allocation({arm.arm_id: 3 for arm in match.arms}), progress)


def played(study: Study, progress: Any = silent) -> list[dict[str, Any]]:
    with study, InProcessExecutor(study, progress) as executor:
        race(study, executor, progress)
    return query(study.folder, FIGURES)


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


def test_near_identical_programs_are_paired_and_others_are_not(tmp_path: Path) -> None:
    """What a run proposes is drawn anew for each arm, unless one charter field is all that sets two programs apart."""
    stock = starter("stock")
    near = Program.parse(set_charter(stock.text, "no_repeat", True), "near")
    far = Program.parse(set_charter(set_charter(stock.text, "no_repeat", True), "wave", 2), "far")
    entries = [Entry(p) for p in (stock, near, far, starter("local"))]
    study = simulated(tmp_path / "s")
    with study, InProcessExecutor(study, silent) as executor:
        on, settings = TaskStudy(study), {"purpose": "generation", "stream": "selection"}
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


def untouched(folder: Path, *, noise: float = 0.0) -> Study:
    """Runs have the time of one experiment, so they end where they began; a match shifts its verifications."""
    law = null_law(1, noise=noise, drift=0.1, crash_rate=0.0)
    task = Task.load(simulated_task(law, folder.parent / "task", experiments=1))
    return study_on(folder, task, COST, seed=4)


def entered(study: Study, stream: Stream) -> Match:
    entries = [Entry(starter("local"), "champion"), Entry(starter("stock"), "control")]
    return enter(TaskStudy(study), "last", entries, purpose="confirmation", stream=stream)


def ended(study: Study, stream: Stream, runs: int = 3, progress: Any = silent) -> list[dict[str, Any]]:
    with study, InProcessExecutor(study, progress) as executor:
        match = entered(study, stream)
        play(TaskStudy(study), executor, match, Allocation({arm.arm_id: runs for arm in match.arms}), progress)
    return query(study.folder, "SELECT run_id, seed, status, metric, gain, trust FROM verifications ORDER BY ALL")


def test_run_that_ends_at_the_baseline_is_trained_again_for_good(tmp_path: Path) -> None:
    """So it shares what all verifications of a match share; a gain of exactly 0 would not."""
    chosen = ended(untouched(tmp_path / "one" / "s"), "selection")
    assert {(row["status"], row["gain"], row["trust"]) for row in chosen} == {("baseline", 0.0, "")}
    study = untouched(tmp_path / "two" / "s")
    final = ended(study, "confirmation")
    assert len(final) == len(chosen) and {(row["status"], row["trust"]) for row in final} == {("ok", "verified")}
    (drift,) = {round(row["gain"], 12) for row in final}  # without noise it is all that there is
    assert abs(drift) > 1e-3
    _, measured = final_samples(TaskStudy(study), entered(study, "confirmation").match_id)
    assert measured.touched == {"champion": 1.0, "control": 1.0}
