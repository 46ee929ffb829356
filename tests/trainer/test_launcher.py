"""Without a sandbox: metering, trees that flee, and processes that are killed in mid-experiment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import EnvironmentProblem
from tests.serving import wait_for as _wait_for
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.inside import wire
from trainer.jobs.job import Ended, ForkedJob, LauncherFault, Limits
from trainer.outcome import Outcome
from trainer.sandbox import bwrap
from trainer.sandbox.local import LocalLauncher, read_reply
from trainer.source import Source
from trainer.task import Task

_BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


@pytest.fixture
def launcher(bare_launcher: LocalLauncher) -> LocalLauncher:
    return bare_launcher


def _request(code: str, cpu: float = 5.0, wall: float = 100.0, memory_mb: int = 512) -> ForkedJob:
    return ForkedJob(["train"], limits=Limits(cpu, wall, memory_mb), files={"train.py": code.encode()})


Launch = Callable[..., Ended]


@pytest.fixture
def script(launcher: LocalLauncher) -> Launch:
    """Run a bare script in the launcher."""

    def run(code: str, cpu: float = 5.0, wall: float = 60.0, memory_mb: int = 512) -> Ended:
        return launcher.run(_request(code, cpu, wall, memory_mb))

    return run


def _alive(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_known_burner_is_metered(script: Launch, launcher: LocalLauncher) -> None:
    """Once: what is more than the burner's own is the fork, the start and the end."""
    ended = script(_BURN.format(seconds=1.0))
    assert ended.exit_code == 0
    assert 1.0 < ended.cpu_seconds < 1.6
    assert 0 < launcher.constant < 0.3


def test_children_are_metered(script: Launch) -> None:
    code = "import os\nif os.fork():\n    os.wait()\n" + _BURN.format(seconds=0.6)
    ended = script(code)
    assert 1.2 < ended.cpu_seconds < 1.75


def test_burning_grandchildren_count_towards_the_line(script: Launch) -> None:
    code = "import os, time\nif os.fork():\n    time.sleep(600)\nos.setsid()\nwhile True: pass"
    ended = script(code, cpu=0.3)
    assert ended.killed == "cpu"
    assert 0.27 < ended.cpu_seconds < 3


def test_fled_daemon_is_killed_and_charged(script: Launch, tmp_path: Path) -> None:
    """Double fork, own session, the parent leaves at once; the daemon burns on."""
    pid_file = tmp_path / "pid"
    code = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        with open({str(pid_file)!r} + "-", "w") as file: file.write(str(os.getpid()))
        os.rename({str(pid_file)!r} + "-", {str(pid_file)!r})
        while True: pass
    os._exit(0)
while not os.path.exists({str(pid_file)!r}): time.sleep(0.001)
"""
    ended = script(code, cpu=30)
    assert ended.exit_code == 0
    assert not Path("/proc", pid_file.read_text()).exists()
    assert ended.cpu_seconds > 0.3


def test_hidden_cpu_of_a_sigchld_ignorer_is_seen(script: Launch, launcher: LocalLauncher) -> None:
    code = "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork(): time.sleep(600)\n"
    ended = script(code + _BURN.format(seconds=1), cpu=0.5)
    assert ended.killed == "cpu"


def test_fork_bomb_is_stopped(script: Launch) -> None:
    code = "import os, time\nfor i in range(100):\n    if os.fork() == 0:\n        time.sleep(600)\ntime.sleep(600)"
    assert script(code, cpu=30).killed == "processes"


def test_memory_limit(script: Launch) -> None:
    assert script("x = bytearray(200 << 20)", memory_mb=512).exit_code == 0
    assert script("x = bytearray(900 << 20)", memory_mb=512).error_kind == "MemoryError"


def test_log_keeps_the_end(script: Launch) -> None:
    ended = script("for i in range(20000): print('line', i)\nprint('\\xff\\x1b[31m')")
    assert len(ended.log) <= 16_384
    assert "line 19999" in ended.log


@pytest.mark.slow
def test_trainer_repeats_an_experiment_whose_template_died(
    task: Task, data: DataStore, with_main: Callable[[str], Source], launcher: LocalLauncher, tmp_path: Path
) -> None:
    flag = tmp_path / "ran"
    wait = f"open({str(flag)!r}, 'w').close(); time.sleep(600)"
    code = f"import os, time\nif not os.path.exists({str(flag)!r}):\n    {wait}"

    def kill() -> None:
        while not flag.exists():
            time.sleep(0.01)
        os.kill(launcher.template_pid or 0, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    outcome: Outcome = Trainer(task, data, launcher=launcher).run(Spec(with_main(code), seed=1))
    assert outcome.status == "ok", outcome


@pytest.mark.slow
def test_killed_worker_takes_everything_with_it(tmp_path: Path) -> None:
    """kill -9 of a worker: template, experiment and fled daemon are gone in a moment, work folders too."""
    marker = f"marker{os.getpid()}"
    ready = tmp_path / "ready"
    code = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "{marker}"], start_new_session=True)
with open({str(ready)!r} + "-", "w") as file: file.write(str(os.getpid()))
os.rename({str(ready)!r} + "-", {str(ready)!r})
time.sleep(600)
"""
    worker = f"""
import json
from trainer.jobs.job import *
from trainer.sandbox.local import LocalLauncher
launcher = LocalLauncher(sandbox=False)
launcher.start()
print(json.dumps([launcher.template_pid, str(launcher._folder)]), flush=True)
launcher.run(ForkedJob(["train"], limits=Limits(600, 600), files={{"train.py": {code.encode()!r}}}))
"""
    process = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    template, root = json.loads(process.stdout.readline())
    _wait_for(lambda: ready.exists() and len(_alive(marker)) == 2)  # the worker and the daemon
    experiment = int(ready.read_text())
    process.kill()
    process.wait()
    process.stdout.close()
    _wait_for(lambda: not any(Path("/proc", str(pid)).exists() for pid in (template, experiment)))
    _wait_for(lambda: not _alive(marker) and not Path(root).exists())


def test_a_launcher_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)
    monkeypatch.setattr("trainer.sandbox.local._work_folder", lambda: tmp_path / "work")
    launcher = LocalLauncher()
    with pytest.raises(EnvironmentProblem):
        launcher.start()
    assert launcher._folder is None and not (tmp_path / "work").exists()


def test_restarts_are_counted_from_the_second_template_on(launcher: LocalLauncher) -> None:
    launcher.start()
    assert launcher.template_pid is not None
    before = launcher.restarts
    os.kill(launcher.template_pid, signal.SIGKILL)
    with pytest.raises(LauncherFault):
        launcher.run(_request("pass"))
    launcher.start()
    assert launcher.restarts == before + 1


@pytest.mark.parametrize("names", [[1, 2], [["a"], "b"], ["a", "a"]])
def test_descriptors_have_names_that_are_texts_and_differ(names: list[Any]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(ours, [json.dumps({"descriptors": names}).encode()], [0, 1])
        with pytest.raises(ValueError, match="not a message"):
            wire.receive(theirs)


@pytest.mark.parametrize("exit_code", [True, 1.0, "1", None, 256, -256])
def test_a_reply_whose_exit_code_is_none_is_refused(exit_code: object) -> None:
    good = {"exit_code": 1, "killed": "", "cpu_seconds": 0.1, "wall_seconds": 0.1, "peak_memory_mb": 1.0}
    assert read_reply(good, b"{}").exit_code == 1
    with pytest.raises(LauncherFault, match="no valid exit_code"):
        read_reply({**good, "exit_code": exit_code}, b"{}")  # type: ignore[dict-item]
