"""kill -9 of a simulated study and every git in it, at moments told by its ledger: all views end as if undisturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import check
from analysis.study import VIEWS, open_study
from analysis.tables import rows
from meta.begin import create
from tests.meta.cli_study import cli
from tests.studies import TINY
from trainer.planted import random_law, simulated_task
from trainer.task import Task

KILLS_ANYWHERE = 3
AT = (
    '"purpose":"confirmation"',
    '"kind":"harvest_experiment"',
    '"kind":"champion"',
)  # and as soon as the ledger holds these
APART = ("_at", "wall", "utilization", "spent", "secret", "place", "details", "config")  # times, and where a row stands


def make(folder: Path, task: Task, *further: Task) -> Path:
    plan = replace(TINY, run_budget=task.run_budget, opening_more=2, child_more=2, confirm_runs=2, harvest_percent=5)
    create(folder, task=task, further=further, plan=plan, workers=1, seed=7)
    return folder


def resume(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "meta.cli.start", "evolve", "--resume", str(folder), "-q"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=580)
    assert process.returncode == 0, errors.decode()


def written(folder: Path) -> bytes:
    return b"".join(segment.read_bytes() for segment in (folder / "ledger").glob("*.jsonl"))


def reached(folder: Path, moment: int | str, kills: int) -> bool:
    """A number of records, or a word; each start opens two segments, whose first records are not counted."""
    if isinstance(moment, str):
        return moment.encode() in written(folder)
    return written(folder).count(b"\n") >= moment + 2 * kills


def digits(value: Any) -> Any:
    """Twelve digits of a number: sums of the view `credit` go by the order of lines, which a kill changes."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def answers(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = {name: (folder / name).read_text() for name in ("champion.md", "champion.evidence.md")}
    with open_study(folder) as con:
        for view in set(VIEWS) - {"events"}:
            kept = [
                {key: digits(value) for key, value in row.items() if not any(word in key for word in APART)}
                for row in rows(con.execute(f"SELECT * FROM {view}"))
            ]
            told[view] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    return {name: str(value).replace(str(folder), "") for name, value in told.items()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_simulated_study_that_is_killed_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    tasks = [
        Task.load(simulated_task(random_law(3 + number), tmp_path / f"law{number}", name=f"law{number}", experiments=6))
        for number in range(2)
    ]
    calm, shaken = make(tmp_path / "calm", *tasks), make(tmp_path / "shaken", *tasks)
    assert cli("evolve", "--resume", str(calm), "-q").returncode == 0
    rng, kills, total = np.random.default_rng(5), 0, written(calm).count(b"\n")
    process = resume(shaken)
    for moment in [*sorted(rng.integers(2, 0.7 * total, KILLS_ANYWHERE).tolist()), *AT]:
        while process.poll() is None and not reached(shaken, moment, kills):
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            process = resume(shaken)
    finish(process)
    assert kills >= KILLS_ANYWHERE and check(shaken / "ledger") == []
    undisturbed, other = answers(calm), answers(shaken)
    for name, told in undisturbed.items():
        assert other[name] == told, name
