"""The verbs that start, stop and resume real studies, on real training in small."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.inner_loop.play import BLOBS

from .cli_study import ALONE, metaloop

FIXED = ("--set", "fixed_steps=true")
STROKES = (*FIXED, "--seed", "1", "-b", "0.5s")  # the task that a command takes unless it is told of another
SMALL = ("-t", str(BLOBS), *FIXED, "--seed", "1", "-b", "1.2s")  # six full experiments a run
LONG = (*SMALL[:-1], "4s")  # with time to be interrupted
pytestmark = pytest.mark.slow


def start(*args: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in the background, in a process group of its own."""
    command = [sys.executable, "-m", "meta.cli.main", *args]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_experiments(folder: Path, count: int) -> None:
    """Until the ledger of the study holds so many experiments."""
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        found = sum(path.read_text().count('"kind":"experiment"') for path in (folder / "ledger").glob("*.jsonl"))
        if found >= count:
            return
        time.sleep(0.1)
    pytest.fail(f"no {count} experiments in {folder}")


def test_single_run_ends_with_a_verified_gain_to_look_at(tmp_path: Path) -> None:
    done = metaloop("match", "stock", *ALONE, *STROKES, "--json", cwd=tmp_path)
    told = done.json
    assert told["study"].startswith("studies/strokes-") and told["contrast"] is None
    assert "plan: 1 run, about" in done.stderr and "A/A" not in done.stderr
    [run] = metaloop("sql", told["study"], "FROM runs", "--json", cwd=tmp_path).json
    assert run["state"] == "finished" and [row["gain"] for row in told["items"]] == [run["verified_gain"]]
    assert metaloop("show", run["run_id"][:6], "--json", cwd=tmp_path).json["kind"] == "run"
    assert metaloop("resume", told["study"], "--json", cwd=tmp_path).json["items"] == told["items"]


def test_a_match_drains_on_ctrl_c_and_resumes_to_standings(tmp_path: Path) -> None:
    folder = tmp_path / "drained"
    process = start("match", "local", "stock", "-n", "3", *LONG, "-s", str(folder), cwd=tmp_path)
    wait_for_experiments(folder, 3)
    status = metaloop("status", folder, "--json", cwd=tmp_path).json
    assert status["state"] == "running"
    busy = metaloop("resume", folder, "--json", cwd=tmp_path, code=1)
    assert json.loads(busy.stderr.strip().split("\n")[-1])["error"]["kind"] == "busy"
    os.kill(process.pid, signal.SIGINT)
    _, remarks = process.communicate(timeout=200)
    assert process.returncode == 130, remarks
    stopped = re.search(r"(\d) of 9 runs ended, .* of device time charged to the runs\nnext:\n  (.*)\n", remarks)
    assert stopped and stopped[2].startswith("metaloop resume"), remarks
    assert metaloop("status", folder, "--json").json["state"] == "stopped"
    assert metaloop("stop", folder, "--json").json["stop_requested"] is False
    done = metaloop("resume", folder, "--json", cwd=tmp_path)
    assert stopped[1] == "0" or (re.search("left: at most .* by the clock", done.stderr) and "plan:" not in done.stderr)
    rows = done.json["items"]
    assert len(rows) == 3  # local, stock and stock once more: under one-line the researcher does as under stock
    assert {row["role"] for row in rows} == {"program", "a/a"}
    assert {row["n"] for row in rows} == {3}


def test_a_run_without_a_sandbox_says_so_and_is_verified_in_one(tmp_path: Path) -> None:
    done = metaloop("match", "stock", *ALONE, *SMALL, "--no-sandbox", "-s", "bare", "--json", cwd=tmp_path)
    assert "WITHOUT a sandbox" in done.stderr and "study: ./bare\n" in done.stderr
    [told] = metaloop("sql", "bare", "FROM runs", "--json", cwd=tmp_path).json
    assert told["trust"] == "unverified"
    everywhere = " UNION ".join(f"SELECT trust FROM {view}" for view in ("experiments", "verifications", "standings"))
    assert metaloop("sql", "bare", everywhere, "--json", cwd=tmp_path).json == [{"trust": "unverified"}]
    checked = metaloop("verify", told["run_id"][:6], "-s", "bare", "-n", "2", "-y", "--json", cwd=tmp_path)
    audit = checked.json
    assert (audit["subject"], audit["run_id"], audit["trust"]) == ("run", told["run_id"], "verified")
    assert audit["recorded_gain"] == told["verified_gain"] and audit["secret_hash"] in checked.stderr
    again = ("-n", "2", "--set", f"secret={audit['secret']}", "-y", "--json")
    repeated = metaloop("verify", told["run_id"], "-s", "bare", *again, cwd=tmp_path).json
    assert repeated["gain"] == audit["gain"]
    shown = metaloop("show", told["run_id"][:6], "-s", "bare", "--json", cwd=tmp_path).json
    assert [row["verdict"] for row in shown["audits"]] == [audit["verdict"]] * 2
