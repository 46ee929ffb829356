"""The flags of models: what is refused before anything is founded, what a plan says, and recordings by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.settings import StudyConfig
from meta.cli.board import Board
from meta.cli.main import run
from meta.cli.screen import header
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.kits import KEY
from tests.llm.server import LlmServer
from tests.llm.studies import FIGURES, STANDINGS, planted

from .cli_study import cli

__all__ = ["litellm_loaded", "server"]
pytestmark = dropped


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, litellm_loaded: None) -> Path:
    planted(tmp_path / "task")
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "METALOOP_RECORD", "METALOOP_REPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["run", "stock", "-t", "task", "-s", "s", "--json", *flags])
    return code, json.loads(capsys.readouterr().err.splitlines()[-1])["error"]


def test_what_cannot_work_is_refused_before_anything_is_founded(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = refused(capsys, "-m", "openai/x")
    assert (code, error["kind"]) == (4, "credential") and "OPENAI_API_KEY" in error["message"]
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    code, error = refused(capsys, "-m", "openai/x")
    assert (code, error["kind"]) == (2, "usage") and "cost money" in error["message"]
    for flags, told in (
        (("-m", "openai/x", "--max-usd", "1"), "no price is known for openai/x"),
        (("-m", "nobody-knows"), "no provider is known"),
        (("-r", "chat"), "needs a model"),
        (("-r", "oracle"), "no researcher 'oracle'"),
        (("-m", "openai/x", "--price", "openai/x=1"), "is no price"),
        (("-m", "openai/x", "--price", "openai/x=1/2/3/4"), "is no price"),
        (("-m", "openai/x", "--price", "openai/x=1/2/-3"), "is no price"),
        (("-m", "openai/x", "--record", "a", "--replay", "b"), "exclude each other"),
        (("-m", "openai/x", "--replay", "b"), "no recording there"),
    ):
        code, error = refused(capsys, *flags)
        assert code == 2 and told in error["message"], flags
    assert not (here / "s").exists()


def test_the_plan_names_tokens_and_dollars_or_says_that_there_is_no_price(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "stock", "-t", "task", "--dry-run", "--json", "-m", "gpt-4o-mini", "--max-usd", "2"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["models"] == "gpt-4o-mini" and plan["tokens"] > 8000 and 0 < plan["usd"] < 1
    assert plan["price"].endswith("at most $2")
    assert run(["match", "stock", "-t", "task", "--dry-run", "--json", "-m", "openai/x"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["usd"] is None and "not priced" in plan["price"]


LIMITS = ("--reply-tokens", "900", "--call-timeout", "40s", "--patience", "1h", "--calls-at-once", "3")


def test_limits_of_calls_are_flags_variables_and_settings_and_stand_in_the_plan(
    here: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ = ["run", "stock", "-t", "task", "-m", "openai/test", "--dry-run", "--json"]
    limits = {"reply_tokens": 8192, "call_timeout_s": 300.0, "patience_s": 900.0, "calls_at_once": 8}
    assert run(run_) == 0
    assert limits.items() <= json.loads(capsys.readouterr().out).items()
    asked = {"reply_tokens": 900, "call_timeout_s": 40.0, "patience_s": 3600.0, "calls_at_once": 3, "max_wall_s": 1200}
    assert run([*run_, *LIMITS, "--max-wall", "20m"]) == 0
    assert asked.items() <= json.loads(capsys.readouterr().out).items()
    with monkeypatch.context() as patch:
        for name, value in zip(LIMITS[::2], LIMITS[1::2], strict=True):
            patch.setenv("METALOOP_" + name[2:].upper().replace("-", "_"), value)
        patch.setenv("METALOOP_MAX_WALL", "20m")
        assert run(run_) == 0
        assert asked.items() <= json.loads(capsys.readouterr().out).items()
    assert run(["match", "stock", "-r", "scripted", *run_[2:], *LIMITS]) == 0  # for whoever writes programs
    assert json.loads(capsys.readouterr().out)["patience_s"] == 3600.0


def test_limits_are_kept_by_the_study_and_can_be_changed_when_it_goes_on(
    here: Path, server: LlmServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "stock", "-t", "task", "-m", "openai/test", "-s", "s", *LIMITS, "--max-wall", "20m"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "replies of 900 tokens at most, 40.0s an attempt, 3 calls of a provider at once, 1h00m of waiting" in told
    assert "a run takes 20m00s by the clock at most" in told
    staff = StudyConfig.read(here / "s" / "study.toml").staff
    assert (staff.reply_tokens, staff.call_timeout, staff.patience, staff.calls_at_once) == (900, 40.0, 3600.0, 3)
    assert all(body["max_tokens"] == 900 for body in server.seen)
    assert run(["run", "--resume", "s", "--patience", "5s", "--calls-at-once", "1"]) == 0
    staff = StudyConfig.read(here / "s" / "study.toml").staff
    assert (staff.reply_tokens, staff.patience, staff.calls_at_once, staff.max_wall) == (900, 5.0, 1, 1200.0)
    capsys.readouterr()
    assert run(["run", "--resume", "s", "--reply-tokens", "901", "--json"]) == 2
    assert "was made with --reply-tokens 900" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_recorded_replayed_capped_and_resumed_by_the_command(here: Path, server: LlmServer) -> None:
    env = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": KEY}
    shared = ("stock", "-t", "task", "-m", "openai/test", "--seed", "3", "--fixed-steps")
    first = cli("run", *shared, "-s", "one", "--record", "tape", cwd=here, env=env)
    assert first.returncode == 0, first.stderr
    offline = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI")} | {
        "OPENAI_API_BASE": "http://[::1]:1"
    }
    again = cli("run", *shared, "-s", "two", "--replay", "tape", cwd=here, env=offline)
    assert again.returncode == 0, again.stderr
    assert query(here / "one", FIGURES) == query(here / "two", FIGURES)
    assert query(here / "one", STANDINGS) == query(here / "two", STANDINGS)
    capped = cli("run", *shared, "-s", "three", "--max-tokens", "16000", cwd=here, env=env)
    assert capped.returncode == 3 and "--max-tokens 16000 is reached" in capped.stderr
    resumed = cli("run", "--resume", "three", "--max-tokens", "900000", cwd=here, env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert query(here / "one", STANDINGS) == query(here / "three", STANDINGS)
    other = cli("run", "--resume", "three", "-m", "openai/other", cwd=here, env=env)
    assert other.returncode == 2 and "was made with --model openai/test" in other.stderr
    for path in here.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_spend_is_shown_live_beside_its_caps() -> None:
    board = Board()
    board.take({"kind": "study", "config": {"staff": {"max_usd": 5.0}}})
    board.take({"kind": "call", "tokens": 1200, "usd": 0.25})
    board.take({"kind": "call", "tokens": 300, "usd": 0.5})
    assert "models 2 calls, 1500 tokens, $0.75 of $5" in header(board, "s", 80)
    board.take({"kind": "call", "tokens": 300, "usd": None})
    assert any("not priced" in line for line in header(board, "s", 80))


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_from_its_calls(here: Path, server: LlmServer) -> None:
    env = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": KEY}
    shared = ("run", "branches", "-t", "task", "-m", "openai/test", "--seed", "3", "--fixed-steps")
    assert cli(*shared, "-s", "whole", cwd=here, env=env).returncode == 0
    asked, server.delay = len(server.seen), 0.5
    command = [sys.executable, "-m", "meta.cli.main", *shared, "-s", "cut"]
    with subprocess.Popen(command, cwd=here, env=env, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 250
        while len(server.seen) < asked + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    server.delay, answered = 0.0, len(query(here / "cut", "FROM calls"))
    assert 0 < answered < asked
    resumed = cli("run", "--resume", "cut", cwd=here, env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert query(here / "whole", FIGURES) == query(here / "cut", FIGURES)
    assert len(server.seen) - asked <= asked + 1
