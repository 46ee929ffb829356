"""What each kind of job may use: every misbehaviour in every runner, with real processes, sandboxed and bare."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.jobs.job import Ended, ForkedJob, Job, Limits
from trainer.jobs.plain import run_plain
from trainer.jobs.sandboxed import run_sandboxed
from trainer.sandbox.local import LocalLauncher

LIMITS = Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_mb=512, disk_mb=32, output_mb=1, result_mb=1)
RUNNERS = ("template", "bare template", "command", "bare command")
Run = Callable[..., Ended]

IGNORED = "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork(): time.sleep(600)\n"
BURN = "while True: pass"
#: The code, the limits, and how it ends: in a template, a bare template, a command, a bare command.
MISBEHAVIOURS: dict[str, tuple[str, Limits, tuple[str, ...]]] = {
    "cpu": (BURN, replace(LIMITS, cpu_seconds=0.3), ("cpu",) * 4),
    "cpu in the kernel": ("import os\nwhile True: os.stat('.')", replace(LIMITS, cpu_seconds=0.3), ("cpu",) * 4),
    "cpu of children": (
        f"import os\nfor _ in range(2): os.fork()\n{BURN}",
        replace(LIMITS, cpu_seconds=0.3),
        ("PermissionError", "cpu", "cpu", "cpu"),
    ),
    "cpu in another session": (
        f"import os, time\nif os.fork(): time.sleep(600)\nos.setsid()\n{BURN}",
        replace(LIMITS, cpu_seconds=0.3),
        ("PermissionError", "cpu", "cpu", "cpu"),
    ),
    "cpu of a child that is not waited for": (
        IGNORED + BURN,
        replace(LIMITS, cpu_seconds=0.3),
        ("PermissionError", "cpu", "cpu", "cpu"),
    ),
    "sleep": ("import time\ntime.sleep(600)", replace(LIMITS, wall_seconds=1.0), ("wall",) * 4),
    "output": (
        "while True: print('x' * 1000)",
        replace(LIMITS, cpu_seconds=0.5),
        ("cpu", "cpu", "output", "output"),
    ),
    "memory": (
        "x = b'1' * (900 << 20)\nimport time\ntime.sleep(600)",
        LIMITS,
        ("MemoryError", "MemoryError", "memory", "memory"),
    ),
    "processes": (
        "import os, time\nfor _ in range(100):\n    if not os.fork(): time.sleep(600)\ntime.sleep(600)",
        replace(LIMITS, processes=30),
        ("PermissionError", "processes", "BlockingIOError"),  # as root a bare command has no limit
    ),
}
CELLS = [(name, runner) for name, (_, _, ends) in MISBEHAVIOURS.items() for runner in RUNNERS[: len(ends)]]


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """Runs code of Python in the runner that a test names."""
    runner = request.getfixturevalue("runner")
    if runner.endswith("template"):
        launcher: LocalLauncher = request.getfixturevalue("bare_launcher" if runner.startswith("bare") else "launcher")
        return lambda code, limits, *more: launcher.run(
            ForkedJob(["train"], {"train.py": code.encode()}, limits), *more
        )
    run_command = run_plain if runner.startswith("bare") else run_sandboxed
    return lambda code, limits, *more: run_command(Job(["python3", "-c", code], {}, limits), *more)


@pytest.mark.parametrize(("name", "runner"), CELLS)
def test_job_that_exceeds_a_limit_is_ended(run: Run, name: str, runner: str) -> None:
    code, limits, ends = MISBEHAVIOURS[name]
    end, ended = ends[RUNNERS.index(runner)], run(code, limits)
    if end.endswith("Error"):
        assert (ended.exit_code, ended.killed) == (1, "") and end in (ended.error_kind or ended.log)
        return
    assert (ended.killed, ended.exit_code) == (end, -9)
    assert end != "cpu" or limits.cpu_seconds * 0.9 < ended.cpu_seconds < limits.cpu_seconds + 3
    assert len(ended.log) == (16_384 if "template" in runner else 40_000) * (name == "output")


@pytest.mark.parametrize("runner", RUNNERS)
def test_job_that_is_attended_no_more_is_ended(run: Run, runner: str) -> None:
    looks = list[object]()

    def attend(*tree: object) -> bool:
        looks.append(tree)
        return len(looks) < 3

    ended = run("import time\ntime.sleep(600)", LIMITS, attend)
    assert (ended.killed, ended.exit_code, len(looks)) == ("asked", -9, 3)


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        open("ready", "w").close()
        os.execvp("sleep", ["sleep", "SECONDS"])
    os._exit(0)
while not os.path.exists("ready"): time.sleep(0.001)
"""


@pytest.mark.parametrize("runner", RUNNERS[1:3])
def test_daemon_of_a_job_is_ended_and_charged(run: Run, runner: str) -> None:
    """It forks twice and has a session of its own; its parents leave. A bare command may lose sight of it."""
    seconds = 10_000 + os.getpid()  # another test may let a sleep begin
    ended = run(DAEMON.replace("SECONDS", str(seconds)), LIMITS)
    assert (ended.exit_code, ended.killed) == (0, "") and 0.3 < ended.cpu_seconds < 3
    assert f"sleep\0{seconds}\0".encode() not in map(command_line, Path("/proc").glob("[0-9]*/cmdline"))


def command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("runner", RUNNERS)
def test_cpu_of_a_known_burner_is_metered(run: Run, runner: str) -> None:
    """Once: what is more than the burner's own is the fork or the interpreter, the start and the end."""
    ended = run("x = bytearray(200 << 20)\nimport time\nwhile time.process_time() < 0.6: pass", LIMITS)
    assert ended.exit_code == 0 and 0.5 < ended.cpu_seconds < 1.2


@pytest.mark.parametrize("runner", RUNNERS[1:])
def test_cpu_of_a_child_is_metered(run: Run, runner: str) -> None:
    code = "import os, time\nchild = os.fork()\nwhile time.process_time() < 0.4: pass\nif child: os.wait()"
    ended = run(code, LIMITS)
    assert ended.exit_code == 0 and 0.7 < ended.cpu_seconds < 1.6
