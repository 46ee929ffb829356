"""An agent without a sandbox: the user's own, with the user's variables, ended with all that it started."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from inner_loop.agents.job import agent_job
from tests.events import of
from tests.inner_loop.test_command import Play, agent, play, said
from trainer.experiment import Trainer
from trainer.jobs.plain import run_plain

__all__ = ["agent", "play"]


def test_an_agent_works_as_the_user_and_leaves_nothing_behind(
    play: Play, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_LOGIN", "as-it-is")
    (tmp_path / "mine.sh").write_text("export MINE=read\n")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "mine.sh"))
    script = f"""#!/bin/bash
cat > /dev/null
echo "login $MY_LOGIN in $HOME, $MINE"; pwd; cat README.md
setsid sleep 4711 & echo $! > {tmp_path}/stray
sleep 4711 & echo $! >> {tmp_path}/stray
sed -i 's/^LR = .*/LR = 0.1/' train.py
bash -lc 'uv run train.py && git commit -qam "larger steps"'
sleep 0.5
"""
    played = play(script, 3, folder=folder, sandboxed=False)
    heard = said(folder)
    assert f"login as-it-is in {os.environ['HOME']}, read" in heard and "Work in this folder alone" in heard
    assert str(folder) not in heard  # it works far from the study
    assert [e["decision"] for e in played.experiments] == ["baseline", "keep"]
    assert played.result.final.source_id == played.experiments[1]["source_id"]
    strays = [int(line) for line in (tmp_path / "stray").read_text().split()]
    assert not [pid for pid in strays if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_agents_processes_are_charged_and_end_with_the_budget(metered: Trainer, play: Play, folder: Path) -> None:
    played = play("#!/bin/sh\nwhile true; do true; done\n", 4, trainer=metered, folder=folder, sandboxed=False)
    (session,) = of(played.events, "agent", what="session")
    assert session["killed"] == "budget" and session["counted_by"] == "looks" and played.result.state == "finished"
    assert played.result.sandbox > 0.2


def test_agent_without_a_sandbox_that_fails_says_nothing_of_one(play: Play) -> None:
    result = play("#!/bin/sh\necho no login >&2; exit 127\n", sandboxed=False).result
    assert result.problem and "exit code 127: no login" in result.reason
    assert result.problem.hint and "sandbox" not in result.problem.hint


def test_an_agent_has_no_variable_that_is_withheld_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "key-4711")  # as one that only the gateway uses
    ended = run_plain(agent_job(["env"], tmp_path, sandboxed=False, environment={"MINE": "1"}))
    assert "MINE=1" in ended.log and "PATH=" in ended.log and "key-4711" not in ended.log
