"""Coding agents from the command line: flags, the plan and its price, what is refused before anything is founded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.llm.gateway import OPENAI_KEY
from tests.meta.cli_study import ALONE, cli, metaloop


def test_plan_says_what_has_no_price_and_no_agent_means_no_study(tmp_path: Path) -> None:
    words = ("match", "stock", *ALONE, "-r", "command:codex", "-s", "here")
    plan = cli(*words, "--dry-run", "--json", cwd=tmp_path)
    assert "not priced" in plan.json["price"]
    own = {**os.environ, "PATH": str(tmp_path)}
    for more in ((), ("--dry-run",)):
        absent = cli(*words, "--json", *more, cwd=tmp_path, env=own)
        told = json.loads(absent.stderr)["error"]
        assert absent.returncode == 1 and told["kind"] == "environment" and "npm install" in told["hint"]
    assert "4711" not in metaloop(*words, "--set", "agent_env=A=sk-4711", cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "here").exists()


def test_an_agent_that_may_not_start_founds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each kind refuses is in tests/inner_loop/test_description.py."""
    for name in ("OPENAI_API_KEY", "CODEX_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def refused(*more: str) -> tuple[int, dict[str, str]]:
        done = cli("match", "stock", *ALONE, "-r", "command:codex", "-s", "here", "--json", *more)
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]

    assert (refused()[0], refused()[1]["kind"]) == (4, "credential")
    code, error = refused("--no-sandbox")  # with the user's own login, whose calls no limit can hold
    assert (code, error["hint"]) == (2, "--yes") and "without a sandbox: it can do all that you" in error["message"]
    assert refused("--no-sandbox", "--max-usd", "5")[0] == 4
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    code, error = refused()
    assert (code, error["hint"]) == (2, "--yes, with --max-usd 5") and OPENAI_KEY not in str(error)
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("sandbox", [[], ["--no-sandbox"]])
def test_an_agent_that_ends_with_an_error_founds_nothing(tmp_path: Path, sandbox: list[str]) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\necho 'Invalid API key, please run /login' >&2; exit 1\n")
    program.chmod(0o755)
    words = ("match", "stock", *ALONE, "-r", "command", "--set", f"agent={program}", "-s", "here", "-y", *sandbox)
    failed = metaloop(*words, cwd=tmp_path, code=1)
    assert "error: the agent 'agent' ended with exit code 1" in failed.stderr
    assert "exit code 1: Invalid API key, please run /login" in failed.stderr and not (tmp_path / "here").exists()


@pytest.mark.slow
def test_doctor_tells_which_agents_are_installed(tmp_path: Path) -> None:
    own = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = metaloop("doctor", "--json", cwd=tmp_path, env=own).json
    (line,) = [item for item in told["items"] if item["check"] == "agent CLIs"]
    assert line["found"] == "none; not installed: claude, codex, mini-swe-agent, opencode"
