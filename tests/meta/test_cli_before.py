"""What a command says of the machine and of a study that it is started in, before it founds or spends anything."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import analysis.study as study_tables
from analysis.ledger.run_state import StudyState
from meta.kinds.evolve import EvolveKind
from meta.ui.live import LiveStudy
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import ALONE, Call, cli
from tests.studies import drawn_law


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
    done = cli("verify", tmp_path / "match", "--runs", "2", "--json")
    told = done.json
    assert done.returncode == (told["verdict"] == "contradicted") and "without training" not in told["why"]


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
    [("match", "stock"), ("match", "local", "-t", "strokes,letters"), ("evolve", "--quick"), ("ablate", "local")],
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


def test_an_invalid_source_is_told_on_stdout_and_exits_with_1(call: Call, tmp_path: Path) -> None:
    law, bad = drawn_law(tmp_path / "law", 1), tmp_path / "train.py"
    bad.write_text("print('hello')\n")
    told = call("verify", bad, "-t", law, "-n", "2", "--json", code=1).json
    assert told["verdict"].startswith("invalid: the law does not cover a source without")
    assert (told["gain"], told["low"], told["high"], told["trust"]) == (None, None, None, None)


@pytest.mark.parametrize(("how", "exact"), [((), False), (("--set", "fixed_steps=true"), True)])
def test_a_check_says_whether_its_secret_repeats_it_exactly(call: Call, how: tuple[str, ...], exact: bool) -> None:
    err = call("verify", BLOBS / "train.py", "-t", BLOBS, "-n", "2", *how).stderr
    [said] = [line for line in err.splitlines() if line.startswith("repeat this check with --set secret=")]
    assert ("the same figures only with fixed steps" in said) is not exact


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


def test_the_end_of_a_study_reads_its_ledger_once(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the champion is named: what it cost, the verdict, its files and how to go on come from one copy."""
    drawn_law(tmp_path / "law", 3)
    monkeypatch.chdir(tmp_path)
    loads: list[str] = []

    def counted(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def reads(*given: Any, **named: Any) -> Any:
            loads.append(name)
            return real(*given, **named)

        monkeypatch.setattr(owner, name, reads)

    for owner, name in ((study_tables, "_tables"), (StudyState, "read"), (LiveStudy, "read")):
        counted(owner, name)
    real = EvolveKind.play

    def carried_out(*given: Any) -> None:
        real(*given)
        assert loads
        loads.clear()

    monkeypatch.setattr(EvolveKind, "play", carried_out)
    dial = ("--quick", "--set", "generations=0", "-n", "2", "-b", "0.4s", "-j", "1")
    told = call("evolve", "-t", "law", *dial, "-s", "s", "--json").json
    assert loads == ["_tables"] and told["program_id"].startswith("p")
