"""What a command refuses or says of the machine, of agents and of a study before it founds or spends anything."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meta.cli.doctor import train_small_task
from programs.common.errors import EnvironmentProblem
from tests.llm.gateway import OPENAI_KEY
from tests.meta.cli_study import ALONE, Call, cli, metaloop, on_terminal
from tests.studies import drawn_law
from trainer.sandbox import bwrap


@pytest.mark.slow
def test_a_simulated_task_needs_no_sandbox(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.study import query
    from trainer.sandbox import bwrap

    monkeypatch.setattr(bwrap, "_binary", lambda: None)
    law, small = str(tmp_path / "law"), ("-b", "0.8s", "--seed", "3")
    drawn_law(Path(law), 1)
    call("task", "check", law)
    run = ("match", "stock", *ALONE, "-t", law, *small, "-s", str(tmp_path / "run"))
    assert "nothing is trained" in call(*run, "--dry-run", "--json").json["sandbox"]
    call(*run)
    call("match", "stock", "local", "-n", "2", "-t", law, *small, "-s", tmp_path / "match", "--no-sandbox")
    for name in ("run", "match"):  # the flag is needless, and leaves no doubt behind
        told = query(tmp_path / name, "SELECT DISTINCT trust FROM verifications WHERE status = 'ok'")
        assert [row["trust"] for row in told] == ["scored"]
    assert call("verify", Path(law) / "train.py", "-t", law, "-n", "2", "--json").json["trust"] == "verified"
    bad = tmp_path / "train.py"
    bad.write_text("print('hello')\n")
    told = call("verify", bad, "-t", law, "-n", "2", "--json", code=1).json
    assert told["verdict"].startswith("invalid: the law does not cover a source without") and told["gain"] is None


def test_unusable_cache_is_reported_before_a_study_is_made(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for name, value in (("METALOOP_CACHE", "file"), ("METALOOP_CACHE", "file/below"), ("HOME", "file")):
        with monkeypatch.context() as surroundings:
            surroundings.delenv("METALOOP_CACHE", raising=False)
            surroundings.setenv(name, str(tmp_path / value))
            first, hint = call("match", "stock", "-s", tmp_path / "new", code=1).stderr.splitlines()[-2:]
        assert not (tmp_path / "new").exists()
        assert first.startswith(f"error: training data cannot be stored in {tmp_path / value}") and name in first
        assert hint == "hint: set a writable folder: METALOOP_CACHE=DIR"


@pytest.mark.parametrize("what", ["a small budget", "a folder with other files", "no sandbox"])
@pytest.mark.parametrize(
    "command",
    [("match", "local", "-t", "strokes,letters"), ("evolve", "--quick"), ("ablate", "local")],
)
def test_dry_run_refuses_what_the_command_refuses(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, command: tuple[str, ...]
) -> None:
    from trainer.sandbox import bwrap

    words, code, study = [*command], 2, tmp_path / "study"
    if what == "a small budget":
        words += ["-b", "0.01s"]
    elif what == "a folder with other files":
        study.mkdir()
        (study / "notes.txt").write_text("")
    else:
        monkeypatch.setattr(bwrap, "_binary", lambda: None)
        code = 1
    errors = [
        next(line for line in call(*words, "-s", study, *more, code=code).stderr.splitlines() if "error: " in line)
        for more in ((), ("--dry-run",))
    ]
    assert errors[0] == errors[1] and not (study / "study.toml").exists()


def test_ctrl_c_in_the_first_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import time; print('importing', flush=True); time.sleep(600)\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", "meta.cli.start", "task", "show"]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # not as in the background
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert (process.returncode, said) == (130, "interrupted\n")


def test_commands_that_are_printed_to_be_copied_are_quoted(call: Call, tmp_path: Path) -> None:
    law, study, new = "my law; echo", "a study", "a task; echo"
    assert call("task", "init", new).stderr == f"next: metaloop task check {shlex.quote(new)}\n"
    drawn_law(tmp_path / law, 1)
    _, following = call("match", "stock", *ALONE, "-t", law, "-b", "0.4s", "-s", study).stderr.split("next:\n")
    other = shlex.split(following.splitlines()[0])
    assert other[:2] == ["metaloop", "show"] and other[-2:] == ["-s", study]
    call(*other[1:])
    hint = call("verify", tmp_path / "a b.py", code=2).stderr.splitlines()[-1]
    assert shlex.split(hint)[-4:] == ["verify", str(tmp_path / "a b.py"), "-t", "strokes"]


def test_plan_says_what_has_no_price_and_no_agent_means_no_study(tmp_path: Path) -> None:
    words = ("match", "stock", *ALONE, "-r", "command:codex", "-s", "here")
    own = {**os.environ, "PATH": str(tmp_path)}
    for more in ((), ("--dry-run",)):
        absent = cli(*words, "--json", *more, cwd=tmp_path, env=own)
        told = json.loads(absent.stderr)["error"]
        assert absent.returncode == 1 and told["kind"] == "environment" and "npm install" in told["hint"]
    assert "4711" not in metaloop(*words, "--set", "agent_env=A=sk-4711", cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "here").exists()


def test_an_agent_that_may_not_start_founds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each kind refuses is in tests/inner_loop/test_description.py."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (tmp_path / "codex").write_text("#!/bin/sh\n")
    (tmp_path / "codex").chmod(0o755)
    words = ("match", "stock", *ALONE, "-r", "command:codex", "-s", "here", "--json")
    error = json.loads(metaloop(*words, cwd=tmp_path, code=2).stderr.splitlines()[-1])["error"]
    assert error["hint"] == "--yes, with --max-usd 5" and OPENAI_KEY not in str(error)
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
    _, shown = on_terminal("doctor", cwd=tmp_path, env=own)
    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
def test_a_real_experiment_passes_in_the_sandbox_here() -> None:
    train_small_task()


def test_no_sandbox_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)
    with pytest.raises(EnvironmentProblem, match="bwrap is not installed"):
        train_small_task()
