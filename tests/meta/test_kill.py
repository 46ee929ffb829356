"""kill -9 at many moments: a fixed-step study that is killed and resumed ends bit-identical to an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import check
from analysis.study import query
from meta.begin import champion_of, found
from tests.inner_loop.play import BLOBS
from tests.studies import TINY
from trainer.task import Task

MOMENTS = 20
METALOOP = str(Path(sys.executable).with_name("metaloop"))
ASK = {
    "standings": "SELECT * EXCLUDE (utilization) FROM standings ORDER BY match_id, arm_id",
    "experiments": "SELECT experiment_id, source_id, seed, status, metric, decision FROM experiments "
    "ORDER BY experiment_id",
    "verifications": "SELECT run_id, seed, metric, gain FROM verifications ORDER BY run_id, seed",
    "programs": "SELECT program_id, text FROM programs ORDER BY program_id",
}


def make(folder: Path) -> None:
    found(folder, task=Task.load(BLOBS), plan=TINY, workers=2, seed=7, fixed_steps=True)


def resume(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [METALOOP, "evolve", "--resume", str(folder), "-y"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(folder: Path) -> None:
    process = resume(folder)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors.decode()


def answers(folder: Path) -> dict[str, Any]:
    told = {name: query(folder, sql) for name, sql in ASK.items()}
    return told | {
        "champion": (folder / "champion.md").read_text(),
        "page": (folder / "champion.evidence.md").read_text(),
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_study_killed_at_twenty_moments_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    make(tmp_path / "calm" / "study")
    began = time.monotonic()
    finish(tmp_path / "calm" / "study")
    whole = time.monotonic() - began

    shaken = tmp_path / "shaken" / "study"
    make(shaken)
    rng = np.random.default_rng(11)
    kills = 0
    while champion_of(shaken) is None and kills < 3 * MOMENTS:
        process = resume(shaken)
        # Short lives early on and a floor that grows, so that the kills spread over all of the study.
        time.sleep(1.0 + float(rng.uniform(0.0, whole / 6)) + 0.02 * kills)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    finish(shaken)

    calm, other = answers(tmp_path / "calm" / "study"), answers(shaken)
    for name, told in calm.items():
        if name != "page":
            assert other[name] == told, name
    assert calm["page"].replace(str(tmp_path / "calm"), "") == other["page"].replace(str(tmp_path / "shaken"), "")
    assert check(shaken / "ledger") == []
    assert kills >= MOMENTS, f"only {kills} kills hit the study before it ended"
