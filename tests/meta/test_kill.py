"""kill -9 of a study and every git in it, at moments told by its ledger: it ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import check
from analysis.study import VIEWS, open_study
from analysis.views.tables import rows
from bench.whole import begin_study, resized
from tests.inner_loop.play import BLOBS
from tests.meta.evolved import SHORT
from tests.studies import TINY, planted
from trainer.task import Task

PLAN = resized(TINY, opening_more=2, generation_more=2, final={"champion": 2, "control": 2})
# anywhere, and as soon as the ledger holds these:
AT = ('"purpose":"confirmation"', '"kind":"harvest_experiment"', '"kind":"champion"')
APART = ("_at", "wall", "utilization", "spent", "secret", "place", "details", "config")  # times, and where a row stands


def resume(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "meta.cli.start", "resume", str(folder), "-y"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=1500)
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


def answers(folder: Path, apart: Sequence[str] = APART) -> dict[str, Any]:
    pages = [folder / name for name in ("champion.md", "champion.evidence.md")]
    told: dict[str, Any] = {page.name: page.read_text() for page in pages if page.exists()}
    with open_study(folder) as con:
        for view in set(VIEWS) - {"events"}:
            kept = [
                {key: digits(value) for key, value in row.items() if not any(word in key for word in apart)}
                for row in rows(con.execute(f"SELECT * FROM {view}"))
            ]
            told[view] = sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)
    return {name: str(value).replace(str(folder), "") for name, value in told.items()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("trains", [True, False])
def test_a_study_that_is_killed_ends_as_if_nothing_had_happened(tmp_path: Path, trains: bool) -> None:
    """Real training by two processes, which outlive the kill a moment, and two simulated tasks with a harvest."""
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    if trains:
        tasks, plan, budget = [Task.load(BLOBS)], PLAN, SHORT
    else:
        tasks = [planted(tmp_path / f"law{n}", 3 + n, name=f"law{n}", experiments=6) for n in range(2)]
        plan, budget = resized(PLAN, harvest_percent=5), tasks[0].run_budget
    for folder in (calm, shaken):
        begin_study(
            folder, tasks[0], plan, further=tasks[1:], run_budget=budget, workers=1 + trains, seed=7, fixed_steps=trains
        )
    finish(resume(calm))
    rng, kills, total = np.random.default_rng(5), 0, written(calm).count(b"\n")
    anywhere = sorted(rng.integers(2, 0.7 * total, 3 if trains else 1).tolist())
    process = resume(shaken)
    for moment in [*anywhere, *([] if trains else AT)]:
        while process.poll() is None and not reached(shaken, moment, kills):
            time.sleep(0.002)
        if process.poll() is None:
            (os.kill if trains else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stderr
            process.stderr.close()
            kills += 1
            process = resume(shaken)
    finish(process)
    assert kills >= 3 and check(shaken / "ledger") == []
    apart = (*APART, *["memory", "cached"] * trains)  # of two runs with one source, the first to reach it trains it
    undisturbed, other = answers(calm, apart), answers(shaken, apart)
    for name, told in undisturbed.items():
        assert other[name] == told, name
