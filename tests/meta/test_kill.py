"""kill -9 at many moments: a fixed-step study that is killed and resumed ends bit-identical to an undisturbed one."""

from __future__ import annotations

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
from analysis.study import query
from meta.begin import create
from tests.inner_loop.play import BLOBS
from tests.studies import TINY
from trainer.task import Task

MOMENTS = 4
PLAN = replace(TINY, opening_more=2, child_more=2, confirm_runs=2)
METALOOP = str(Path(sys.executable).with_name("metaloop"))
ASK = {
    "standings": "SELECT * EXCLUDE (utilization) FROM standings ORDER BY match_id, arm_id",
    "experiments": "SELECT experiment_id, source_id, seed, status, metric, decision FROM experiments "
    "ORDER BY experiment_id",
    "verifications": "SELECT run_id, seed, metric, gain FROM verifications ORDER BY run_id, seed",
    "programs": "SELECT program_id, text FROM programs ORDER BY program_id",
}


def make(folder: Path) -> None:
    create(folder, task=Task.load(BLOBS), plan=PLAN, workers=2, seed=7, fixed_steps=True)


def resume(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [METALOOP, "evolve", "--resume", str(folder), "-y"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(folder: Path) -> None:
    process = resume(folder)
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors.decode()


def records(folder: Path) -> int:
    """What is written once however often the study is started again."""
    texts = [segment.read_bytes() for segment in (folder / "ledger").glob("*.jsonl")]
    kinds = (b'"kind":"experiment"', b'"kind":"verification"', b'"kind":"run_ended"')
    return sum(text.count(kind) for text in texts for kind in kinds)


def answers(folder: Path) -> dict[str, Any]:
    told = {name: query(folder, sql) for name, sql in ASK.items()}
    return told | {
        "champion": (folder / "champion.md").read_text(),
        "page": (folder / "champion.evidence.md").read_text(),
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_study_killed_at_many_moments_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    calm, shaken = tmp_path / "calm" / "study", tmp_path / "shaken" / "study"
    make(calm)
    finish(calm)
    make(shaken)
    rng, kills = np.random.default_rng(11), 0
    # Told by what its ledger holds, so that a slow machine is killed at the same places, and a moment later.
    for place in sorted(rng.integers(0, 0.85 * records(calm), MOMENTS).tolist()):
        process = resume(shaken)
        while process.poll() is None and records(shaken) < place:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0.0, 1.0)))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    finish(shaken)

    undisturbed, other = answers(calm), answers(shaken)
    for name, told in undisturbed.items():
        if name != "page":
            assert other[name] == told, name
    pages = [told["page"].replace(str(folder.parent), "") for told, folder in ((undisturbed, calm), (other, shaken))]
    assert pages[0] == pages[1]
    assert check(shaken / "ledger") == []
    assert kills > MOMENTS // 2, f"only {kills} kills hit the study before it ended"
