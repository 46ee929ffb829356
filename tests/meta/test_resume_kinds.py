"""kill -9 of a study of each kind at several moments; `metaloop resume` ends it as if nothing had happened.

METALOOP_TEST_KILLS=10 kills each ten times.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.ledger import check
from analysis.ledger.run_state import StudyState
from meta.kinds.contract import KINDS
from tests.studies import drawn_law

from .cli_study import metaloop
from .test_kill import answers

KILLS = int(os.environ.get("METALOOP_TEST_KILLS", "3"))
LINES = {
    "evolve": ("evolve", "--quick", "-n", "2", "--set", "generations=1", "-b", "0.4s"),
    "night": ("improve", "local", "--budget", "6s"),
    "match": ("match", "local", "idea-queue", "-n", "8", "-b", "2s"),
    "ablation": ("ablate", "local", "--budget", "60s", "-b", "1s"),
    "replay": ("ablate", "RUN", "-n", "24"),
}


def start(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "meta.cli.start", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors.decode()


def records(folder: Path) -> int:
    return sum(segment.read_bytes().count(b"\n") for segment in (folder / "ledger").glob("*.jsonl"))


def killed(process: subprocess.Popen[bytes], folder: Path, more: int) -> bool:
    """Kill the process after so many more records; False if it has ended before."""
    goal = records(folder) + more
    while process.poll() is None and records(folder) < goal:
        time.sleep(0.001)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr
    process.stderr.close()
    return alive


def command_line(kind: str, law: Path, folder: Path) -> Sequence[str]:
    """The line that begins a study of this kind in ``folder``; a replay is added to a match, which is played first."""
    words = LINES[kind]
    if kind != "replay":
        return (*words, "-t", str(law), "--seed", "7", "-j", "1", "-s", str(folder))
    metaloop(*LINES["match"], "-t", law, "--seed", "7", "-j", "1", "-s", folder)
    runs = StudyState.read(folder / "ledger").runs
    run_id = max(runs, key=lambda identity: runs[identity].kept)
    return (words[0], run_id, *words[2:], "-s", str(folder))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS.built_in)
def test_study_killed_often_resumes_to_equal_views(tmp_path: Path, kind: str) -> None:
    law, calm, shaken = drawn_law(tmp_path / "law", 3), tmp_path / "calm", tmp_path / "shaken"
    line = command_line(kind, law, calm)
    if kind == "replay":
        shutil.copytree(calm, shaken)
    before = records(calm)
    finish(start(*line))
    whole = records(calm) - before
    rng, kills = np.random.default_rng(5), 0
    process = start(*line[:-1], str(shaken))
    while not (shaken / "ledger").is_dir():
        time.sleep(0.001)
    while kills < KILLS and killed(process, shaken, int(rng.integers(1, max(2, whole // KILLS)))):
        kills += 1
        process = start("resume", str(shaken))
    if process.returncode is None:
        finish(process)
    metaloop("resume", shaken)
    print(f"{kind}: killed {kills} times")  # pytest -rP shows it
    assert kills >= (KILLS + 1) // 2 and check(shaken / "ledger") == []
    undisturbed, resumed = answers(calm), answers(shaken)
    for name, rows in undisturbed.items():
        assert resumed[name] == rows, name
