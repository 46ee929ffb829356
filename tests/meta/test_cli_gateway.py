"""A study of an agent whose model is behind the gateway, from the command line: its plan, its rows, no key in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from analysis.ledger import read
from meta.cli.board import load_board
from meta.cli.main import run
from tests.inner_loop.play import BLOBS
from tests.inner_loop.test_command import AGENTS
from tests.llm.apis import ApiServer
from tests.llm.gateway import ANTHROPIC_KEY, OPENAI_KEY, ours
from tests.meta.cli_study import cli
from trainer import bwrap

SHUT_IN = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))


def agent(folder: Path) -> str:
    path = folder / "bin" / "agent"
    path.parent.mkdir()
    path.write_text((AGENTS / "asking.py").read_text())
    path.chmod(0o755)
    return str(path)


def test_a_plan_says_that_calls_are_metered_and_an_agent_without_a_key_founds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OPENAI_API_KEY", "CODEX_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    words = ["run", "stock", "-r", "command:codex", "-s", "here", "--json"]

    def refused(*more: str) -> tuple[int, dict[str, str]]:
        code = run([*words, *more])
        return code, json.loads(capsys.readouterr().err.splitlines()[-1])["error"]

    def price(*more: str) -> str:
        assert run([*words, "--dry-run", *more]) == 0
        return str(json.loads(capsys.readouterr().out)["price"])

    code, error = refused()
    assert code == 4 and error["kind"] == "credential" and "--agent-direct" in error["hint"]
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    code, error = refused()
    assert code == 2 and "--yes" in error["hint"] and OPENAI_KEY not in str(error)
    assert "calls of openai are metered, at most $5" in price("--max-usd", "5")
    assert "not priced, not capped" in price("--agent-direct")
    assert not (tmp_path / "here").exists()


@SHUT_IN
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tokens_and_dollars_of_an_agent_are_in_the_study_and_no_key_is(tmp_path: Path) -> None:
    study = tmp_path / "study"
    with ApiServer(lambda _: "I would try 0.05, or somewhat less.") as server:
        env = os.environ | ours(server)
        words = (
            "run", "stock", "-t", str(BLOBS), "-s", str(study), "--fixed-steps", "-b", "1.2s", "--seed", "3",
            "--agent-command", agent(tmp_path), "--price", "openai/m=1/2", "--price", "anthropic/m=1/2", "--json",
        )  # fmt: skip
        capped = cli(*words, "--max-tokens", "2330", cwd=tmp_path, env=env)  # a local server: nobody is asked
        told = json.loads(capped.stderr.splitlines()[-1])["error"]
        assert capped.returncode == 3 and told["kind"] == "cap_reached" and "2330 is reached" in told["message"]
        assert sum(server.billed) <= 2330
        done = cli("run", "--resume", str(study), "--max-tokens", "100000", "--json", cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
    calls = [event for event in read(study / "ledger") if event["kind"] == "call"]
    assert sum(call["tokens"] for call in calls) == sum(server.billed)
    assert [call["number"] for call in calls] == list(range(len(calls))) and len(calls) > 3
    usd = server.billed[0] * 1e-6 + server.billed[1] * 2e-6
    rows = json.loads(cli("sql", str(study), "SELECT tokens, usd, calls FROM runs", "--json", cwd=tmp_path).stdout)
    (row,) = rows
    assert [row["tokens"], row["calls"]] == [sum(server.billed), len(calls)] and row["usd"] == pytest.approx(usd)
    board, _ = load_board(study)
    assert board.models.tokens == sum(server.billed) and board.models.usd == pytest.approx(usd)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert OPENAI_KEY.encode() not in data and ANTHROPIC_KEY.encode() not in data, path
    assert OPENAI_KEY not in capped.stderr + done.stdout + done.stderr
