"""Coding agents from the command line: flags, plan, what is refused, and a run that is killed and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.ledger import read
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import cli
from trainer import bwrap

SHUT_IN = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
#: Two experiments, then it hangs; started again, it goes on to the end.
HANGING = """#!/bin/bash
grep -q "was interrupted and now continues" && on=yes
for i in 1 2 3 4 5 6 7 8 9; do
  sed -i "s/^LR = .*/LR = 0.${i}${on:+5}/" train.py
  git commit -qam "lr $i"
  experiment || exit 0
  [ -z "$on" ] && [ $i = 2 ] && sleep 600
done
"""


def agent(folder: Path, text: str) -> str:
    path = folder / "bin" / "agent"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_plan_says_what_is_not_priced_and_an_absent_agent_founds_nothing(tmp_path: Path) -> None:
    plan = cli("run", "stock", "-r", "command:codex", "--dry-run", "--json", cwd=tmp_path)
    assert "not priced" in json.loads(plan.stdout)["price"]
    own = {**os.environ, "PATH": str(tmp_path)}
    absent = cli("run", "stock", "-r", "command:codex", "-s", "here", "--json", cwd=tmp_path, env=own)
    told = json.loads(absent.stderr)["error"]
    assert absent.returncode == 1 and told["kind"] == "environment" and "npm install" in told["hint"]
    unknown = cli("match", "stock", "-r", "command:clod", "-s", "here", "--json", cwd=tmp_path)
    assert unknown.returncode == 2 and json.loads(unknown.stderr)["error"]["kind"] == "not_found"
    nameless = cli("run", "stock", "-r", "command", "-s", "here", cwd=tmp_path)
    assert nameless.returncode == 2 and "--agent-command" in nameless.stderr
    secret = cli("run", "stock", "-r", "command:codex", "--agent-env", "A=sk-4711", "-s", "here", cwd=tmp_path)
    assert secret.returncode == 2 and "4711" not in secret.stderr
    assert not (tmp_path / "here").exists()


@pytest.mark.slow
def test_doctor_tells_which_agents_are_installed(tmp_path: Path) -> None:
    found = json.loads(
        cli("doctor", "--json", cwd=tmp_path, env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}).stdout
    )
    (line,) = [item for item in found["items"] if item["check"] == "agent CLIs"]
    assert line["state"] == "ok" and "none of aider, claude, codex, mini-swe-agent, opencode" in line["found"]


@SHUT_IN
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_is_taken_up_again_with_what_was_measured(tmp_path: Path) -> None:
    study = tmp_path / "study"
    words = [
        sys.executable, "-m", "meta.cli.main", "run", "stock", "-t", str(BLOBS), "-s", str(study),
        "--fixed-steps", "-b", "1.2s", "--seed", "3",
        "--agent-command", agent(tmp_path, HANGING), "--agent-network", "none",
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    experiments: list[object] = []
    while len(experiments) < 3:
        assert process.poll() is None
        time.sleep(0.3)
        known = read(study / "ledger") if (study / "ledger").is_dir() else ()
        experiments = [e for e in known if e["kind"] == "experiment"]
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    other = cli("run", "--resume", str(study), "--agent-command", "another", cwd=tmp_path)
    assert other.returncode == 2 and "another --agent-command" in other.stderr
    done = cli("run", "--resume", str(study), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = list(read(study / "ledger"))
    rows = [e for e in events if e["kind"] == "experiment"]
    assert [e["number"] for e in rows] == list(range(6))
    assert [e["config"]["LR"] for e in rows] == [0.01, 0.1, 0.2, 0.15, 0.25, 0.35]
    (ended,) = [e for e in events if e["kind"] == "run_ended"]
    assert ended["experiments"] == 6 and ended["charged"] == pytest.approx(1.2)
    decided = {e["experiment_id"]: e["decision"] for e in events if e["kind"] == "decision"}
    assert len(decided) == 6 and json.loads(done.stdout)["verified_gain"] > 0
    assert not list(study.glob("runs/*/agent/worktree"))
