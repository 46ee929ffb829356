"""Runs with several devices in real workers: the same study, also where a worker is killed within a wave."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from arena.study.settings import StudyConfig
from arena.study.study import Study
from programs.common.errors import UsageError
from tests.arena.test_executor import workers_of
from tests.studies import make_study, program, silent

WAVES = program("waves", "  wave: 6\n  screen: {fraction: 0.25, promote: 0.34}\n")
TOLD = """
SELECT number, source_id, seed, fraction, status, metric, decision, reason, device_seconds_charged
FROM experiments ORDER BY run_id, number
"""


def test_a_study_of_before_has_one_device(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", devices=3)
    text = (study.folder / "study.toml").read_text()
    assert "devices = 3" in text and Study.open(study.folder).config.devices == 3
    (study.folder / "study.toml").write_text(text.replace("devices = 3\n", ""))
    assert StudyConfig.read(study.folder / "study.toml").devices == 1


def test_a_plan_says_how_many_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from meta.cli import new_study

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert new_study.workers_of(None) == 8
    assert [new_study.workers_of(None, devices) for devices in (2, 3, 8, 20)] == [4, 2, 1, 1]
    with pytest.raises(UsageError, match="8 runs at a time on 5 devices each"):
        new_study.workers_of(8, 5)


@pytest.mark.slow
def test_a_worker_killed_within_a_wave_loses_and_repeats_nothing(tmp_path: Path) -> None:
    alone = make_study(tmp_path / "alone", workers=1)
    play_entries(alone, [Entry(WAVES)], 2, silent)
    study = make_study(tmp_path / "s", workers=1, devices=2)
    killed: list[int] = []

    def kill_once(event: Mapping[str, Any]) -> None:
        if event["kind"] == "experiment" and event["number"] == 2 and not killed:
            killed.extend(workers_of(study.folder))
            os.kill(killed[0], signal.SIGKILL)

    play_entries(study, [Entry(WAVES)], 2, kill_once)
    assert len(killed) == 1
    assert query(study.folder, TOLD) == query(alone.folder, TOLD)
    rows = query(study.folder, "SELECT count(*) AS n, count(DISTINCT experiment_id) AS different FROM experiments")
    assert rows[0]["n"] == rows[0]["different"] > 20
    gains = "SELECT run_seed, verified_gain, device_seconds_charged FROM runs ORDER BY run_seed"
    assert query(study.folder, gains) == query(alone.folder, gains)
