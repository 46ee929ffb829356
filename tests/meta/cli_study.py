"""A small study folder written through the real ledger, for tests of the verbs that look at one."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger
from arena.study.settings import StudyConfig, Versions
from bench.planted_events import end, experiment, start, verify
from meta.cli import main
from programs.program import Program
from programs.shelf import starter
from trainer.user_files import private_folder

ALONE = ("-n", "1", "--no-controls")  # of a match that is one run
BASELINE = 0.80
GAINS = {"stock": (0.020, 0.030, 0.025), "local": (0.050, 0.060, 0.055), "child": (0.070, 0.075, 0.080)}


class Ended(subprocess.CompletedProcess[str]):
    """A command that has ended."""

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Call = Callable[..., Ended]


def metaloop(*args: object, code: int = 0, **surroundings: Any) -> Ended:
    """The command in this process; it has to end with this exit code."""
    ended = cli(*args, **surroundings)
    assert ended.returncode == code, ended.stderr
    return ended


def cli(*args: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
    """The command in this process, its output caught as by pipes."""
    words = [*map(str, args)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with surroundings(cwd, env), open(os.devnull) as null, redirect_stdout(out), redirect_stderr(err):
        stdin, sys.stdin = sys.stdin, null
        try:
            code = main.run(words)
        finally:
            sys.stdin = stdin
    texts = (caught.buffer.getvalue().decode() for caught in (out, err))  # type: ignore[attr-defined]
    return Ended(words, code, *texts)


def cli_process(*args: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, its output piped, for what is decided while Python starts."""
    command = [sys.executable, "-m", "meta.cli.main", *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=580)


@contextmanager
def surroundings(cwd: Path | None, env: Mapping[str, str] | None) -> Iterator[None]:
    """The folder and the environment of a command, which may change them."""
    before = dict(os.environ)
    with chdir(cwd or Path.cwd()):
        try:
            if env is not None:
                _replace_environment(env)
            yield
        finally:
            _replace_environment(before)


def _replace_environment(env: Mapping[str, str]) -> None:
    os.environ.update(env)
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]


def on_terminal(*args: object, cwd: Path, env: dict[str, str] | None = None, typed: bytes = b"") -> tuple[int, str]:
    """The command in this process, with a pseudo-terminal in the place of its three standard streams: exit code and
    everything that appeared on it. ``typed``: what is answered."""
    leader, follower = pty.openpty()
    os.write(leader, typed)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: _read(leader), b"")))
    with surroundings(cwd, {**os.environ, "TERM": "xterm-256color", **(env or {})}):
        with terminal(follower):
            reader.start()
            code = main.run([*map(str, args)])
        reader.join()
    os.close(leader)
    return code, b"".join(shown).decode("utf-8", "replace")


@contextmanager
def terminal(follower: int) -> Iterator[None]:
    """Descriptors 0 to 2 and the streams on them are this terminal, which is closed at the end."""
    sys.stdout.flush()
    sys.stderr.flush()
    streams, saved = (sys.stdin, sys.stdout, sys.stderr), [os.dup(number) for number in range(3)]
    for number in range(3):
        os.dup2(follower, number)
    os.close(follower)
    try:
        with (
            open(0, encoding="utf-8", closefd=False) as sys.stdin,
            open(1, "w", encoding="utf-8", closefd=False) as sys.stdout,
            open(2, "w", encoding="utf-8", closefd=False) as sys.stderr,
        ):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, before in enumerate(saved):
            os.dup2(before, number)
            os.close(before)


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says so when the other side has closed
        return b""


def programs() -> dict[str, Program]:
    local = starter("local")
    child = Program.parse(local.text + "\nA sentence that only the child has.\n", "child")
    return {"stock": starter("stock"), "local": local, "child": child}


def write_study(folder: Path) -> Path:
    """Three programs, one match, three runs each of three experiments, verified on two seeds."""
    private_folder(folder / "ledger")
    config(folder)
    own = programs()
    with Ledger(folder / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y1", "config": {}, "version": "0.1.0", "started_at": AT})
        for name, program in own.items():
            parents = [own["local"].program_id] if name == "child" else []
            ledger.append(program_event(program, parents), sync=False)
        arms = [{"arm_id": f"a{n}", "program_id": p.program_id, "role": "program"} for n, p in own.items()]
        arms[0]["role"] = "control"
        ledger.append(match_event([*arms, {**arms[0], "arm_id": "atwin", "role": "a/a"}]), sync=False)
        for name, program in own.items():
            for index, gain in enumerate(GAINS[name]):
                write_run(ledger, f"a{name}", program, index, gain)
        for index, gain in enumerate((0.02, 0.028)):
            write_run(ledger, "atwin", own["stock"], index, gain)
        ledger.append({"kind": "match_ended", "match_id": "m1", "state": "finished"})
        ledger.append({"kind": "champion", "program_id": own["child"].program_id, "name": "child"})
    return folder


AT = "2030-01-02T03:04:05Z"


def config(folder: Path) -> None:
    StudyConfig(
        study_id="y1", created_at=AT, kind="match", task="strokes", task_id="t1", run_budget=1.0, secret="0" * 32,
        hardware_class="cpu:test", versions=Versions(metaloop="0.1.0", python="3", torch="2"),
    ).dump(folder / "study.toml")  # fmt: skip


def program_event(program: Program, parents: list[str]) -> dict[str, Any]:
    keys = ("directive_id", "heading", "kind", "text", "position")
    return {
        "kind": "program", "program_id": program.program_id, "name": program.name, "generation": len(parents),
        "operator": "starter" if not parents else "take", "parent_ids": parents, "words": program.words,
        "text": program.text, "directives": [{k: getattr(d, k) for k in keys} for d in program.directives],
    }  # fmt: skip


def match_event(arms: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "match", "match_id": "m1", "task": "strokes", "task_id": "t1", "run_budget": 1.0, "label": "opening",
        "hardware_class": "cpu:test", "stream": "selection", "purpose": "race", "generation": 0, "started_at": AT,
        "config": {"direction": "lower", "metric": "nll"}, "arms": arms,
    }  # fmt: skip


def write_run(ledger: Ledger, arm_id: str, program: Program, index: int, gain: float) -> None:
    run_id, cited = f"r{arm_id}{index}", [program.directives[0].directive_id]
    start(ledger, run_id, "m1", arm_id, program.program_id, index, device_seconds_budget=1.0)
    first = {"source_id": "s0", "config": {"LR": 0.0}, "description": "baseline", "diff": ""}
    experiment(ledger, run_id, 0, decision="baseline", metric=BASELINE, cited=cited, seconds=0.3, **first)
    for number, (metric, decision) in enumerate([(0.9, "discard"), (BASELINE - gain, "keep")], 1):
        rate = {"LR": 0.002 * number}
        experiment(
            ledger, run_id, number, decision=decision, metric=metric, cited=cited, seconds=0.3, parent_number=0,
            parent_source_id="s0", source_id=f"s{number}", edit={"set": rate, "apply": []}, config=rate,
            description="lr up \x1b[31mred\x1b[0m", diff="--- a/train.py\n+++ b/train.py\n-LR = 1\n+LR = 2\n",
        )  # fmt: skip
    counts = {"experiments": 3, "kept": 1}
    end(ledger, run_id, gain + 0.02, charged=1.0, spent=0.9, claimed_best=0.7, final_source_id="s3", **counts)
    verify(ledger, run_id, arm_id, program.program_id, [gain, gain])
