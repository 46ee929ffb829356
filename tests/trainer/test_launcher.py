"""The launcher of templates: its log and replies, and processes that are killed in mid-experiment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from programs.common.errors import EnvironmentProblem
from tests.serving import wait_for as _wait_for
from trainer.inside import wire
from trainer.jobs.job import ForkedJob, LauncherFault, Limits
from trainer.sandbox import bwrap
from trainer.sandbox.local import LocalLauncher, read_reply


@pytest.fixture
def launcher(bare_launcher: LocalLauncher) -> LocalLauncher:
    return bare_launcher


def _request(code: str) -> ForkedJob:
    return ForkedJob(["train"], limits=Limits(5.0, 100.0, 512), files={"train.py": code.encode()})


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


def test_log_of_a_flood_keeps_its_end(launcher: LocalLauncher) -> None:
    ended = launcher.run(_request("for i in range(20000): print('line', i)\nprint('\\xff\\x1b[31m')"))
    assert len(ended.log) <= 16_384
    assert "line 19999" in ended.log


@pytest.mark.slow
def test_killed_worker_takes_its_processes_with_it(tmp_path: Path) -> None:
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


def test_launcher_that_does_not_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)
    monkeypatch.setattr("trainer.sandbox.local._work_folder", lambda: tmp_path / "work")
    launcher = LocalLauncher()
    with pytest.raises(EnvironmentProblem):
        launcher.start()
    assert launcher._folder is None and not (tmp_path / "work").exists()


@pytest.mark.parametrize("names", [[1, 2], [["a"], "b"], ["a", "a"]])
def test_descriptors_without_different_names_are_refused(names: list[Any]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(ours, [json.dumps({"descriptors": names}).encode()], [0, 1])
        with pytest.raises(ValueError, match="not a message"):
            wire.receive(theirs)


@pytest.mark.parametrize("exit_code", [True, 1.0, "1", None, 256, -256])
def test_reply_without_a_valid_exit_code_is_refused(exit_code: object) -> None:
    good = {"exit_code": 1, "killed": "", "cpu_seconds": 0.1, "wall_seconds": 0.1, "peak_memory_mb": 1.0}
    assert read_reply(good, b"{}").exit_code == 1
    with pytest.raises(LauncherFault, match="no valid exit_code"):
        read_reply({**good, "exit_code": exit_code}, b"{}")  # type: ignore[dict-item]
