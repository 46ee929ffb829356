"""The cgroup around a template: real groups where this machine gives them, plain files for the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.inside import metering
from trainer.jobs.job import ForkedJob, Limits
from trainer.sandbox import cgroup
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.local import LocalLauncher

MOUNT = "{id} 23 0:28 {root} {folder} rw,relatime shared:9 - {kind} cgroup rw"


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = Cgroup.create("test")
    if made is None:
        pytest.skip("no writable cgroup on this machine")
    yield made
    made.kill()
    made.close()


def _burning(code: str) -> str:
    """``code`` for a process that waits for a line first; it knows ``burn(CPU-seconds)``."""
    burn = "def burn(seconds):\n    end = time.process_time() + seconds\n    while time.process_time() < end: pass\n"
    return (
        f"import os, signal, sys, time\n{burn}sys.stdout.write('.')\nsys.stdout.flush()\nsys.stdin.readline()\n{code}"
    )


def _start(code: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-S", "-c", _burning(code)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.read(1) == b"."
    return process


def _run(group: Cgroup, code: str) -> float:
    """CPU-seconds by rusage that a process took after it was put into the group."""
    with _start(code) as process:
        before = metering.cpu_seconds(process.pid)
        assert group.add(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        usage = os.wait4(process.pid, 0)[2]
        process.returncode = 0
    return usage.ru_utime + usage.ru_stime - before


def test_a_burner_costs_what_rusage_says(group: Cgroup) -> None:
    used = _run(group, "burn(0.3)")
    assert group.cpu_seconds() == pytest.approx(used, abs=0.1)


def test_a_child_that_hides_from_rusage_is_seen(group: Cgroup) -> None:
    code = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nchild = os.fork()\nburn(0.6)\n"
    code += "try: child and os.wait()\nexcept ChildProcessError: pass"  # it waits, and is told nothing
    assert 0.6 < _run(group, code) < 1.0
    both = group.cpu_seconds()
    assert both and 1.2 < both < 1.75


def test_descendants_move_along_and_are_killed(group: Cgroup) -> None:
    with _start("child = os.fork()\nif child: print(child, flush=True)\ntime.sleep(600)") as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        assert group.add(parent.pid)
        assert group.processes() == {parent.pid, child}
        group.kill()
        assert group.processes() == set()
        assert parent.wait(60) == -signal.SIGKILL


def test_a_cap_on_processes(group: Cgroup) -> None:
    if "processes" not in group.controls:
        pytest.skip("no pids controller")
    group.limit(None, 1)
    code = "try: os.fork()\nexcept OSError: burn(1.0)"
    assert _run(group, code) > 0.9
    group.limit(None, None)
    assert _run(group, code) < 0.9


def test_closed_groups_are_gone_and_quiet(group: Cgroup) -> None:
    folder = group.folder
    assert folder and folder.is_dir() and group.cpu_seconds() is not None
    group.close()
    group.close()
    assert not folder.exists()
    assert group.cpu_seconds() is None
    assert group.peak_memory_mb() is None
    assert group.out_of_memory_kills() == 0
    assert not group.add(os.getpid())
    group.kill()
    group.limit(64, 8)


def test_sweep_takes_the_empty_groups_of_the_dead(tmp_path: Path) -> None:
    living, dead, full = (
        tmp_path / f"metaloop-{name}" for name in (f"{os.getpid()}-0-a", "4194305-0-a", "4194305-1-b")
    )
    (full / "inner").mkdir(parents=True)
    for folder in (living, dead, tmp_path / "other"):
        folder.mkdir()
    assert cgroup.sweep(tmp_path) == 0
    os.utime(dead, (time.time() - 70, time.time() - 70))
    assert cgroup.sweep(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([full.name, living.name, "other"])


def _files(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_everything_by_v2(tmp_path: Path) -> None:
    stat = "usage_usec 1500000\nuser_usec 1400000\nsystem_usec 100000\n"
    events = "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n"
    _files(tmp_path, cpu__stat=stat, memory__peak="1048576\n", memory__events=events)
    _files(tmp_path, cgroup__controllers="cpu memory pids\n")
    group = Cgroup(tmp_path)
    assert group.controls == {"cpu", "memory", "processes"}
    assert group.cpu_seconds() == 1.5
    assert group.peak_memory_mb() == 1.0
    assert group.out_of_memory_kills() == 1
    group.limit(64, 8)
    texts = {name: (tmp_path / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")}
    assert texts == {"memory.max": str(64 << 20), "memory.swap.max": "0", "pids.max": "8"}
    group.close()  # a folder that cannot go: quietly
    assert tmp_path.is_dir()


def test_the_own_group_is_found_beside_those_of_version_1(tmp_path: Path) -> None:
    unified = tmp_path / "uni fied"
    (unified / "b").mkdir(parents=True)
    own = _files(tmp_path / "texts", cgroup="4:memory:/m\n2:cpu,cpuacct:/a/b\n1:name=systemd:/\n0::/slice/b\n")
    lines = [
        MOUNT.format(id=32, root="/", folder=tmp_path, kind="cgroup"),
        MOUNT.format(id=33, root="/other", folder=tmp_path, kind="cgroup2"),
        MOUNT.format(id=34, root="/slice", folder=str(unified).replace(" ", "\\040"), kind="cgroup2"),
        "no mount at all",
    ]
    (own / "mountinfo").write_text("\n".join(lines) + "\n")
    assert cgroup.own_group(own / "cgroup", own / "mountinfo") == unified / "b"
    assert cgroup.own_group(own / "none", own / "none") is None


def test_a_group_that_somebody_else_watches_is_left_alone(tmp_path: Path) -> None:
    if os.geteuid() == 0:  # a user's own folder counts as delegated to that user
        assert Cgroup.create("test", tmp_path) is None
    assert Cgroup.create("test", Path("/proc")) is None
    assert list(tmp_path.iterdir()) == []


def test_group_that_does_not_take_the_template_is_not_counted_by(tmp_path: Path) -> None:
    launcher = LocalLauncher(sandbox=False, torch=False)
    launcher.group = made = Cgroup(tmp_path / "removed by somebody")
    assert made.controls == {"cpu"}
    try:
        launcher.start()
        assert launcher.group is None and made.controls == frozenset()
    finally:
        launcher.close()


def test_count_of_a_group_is_reported_beside_our_own(tmp_path: Path) -> None:
    launcher = LocalLauncher(sandbox=False, torch=False)
    noop = ForkedJob(["noop"], limits=Limits(10.0, 60.0))
    try:
        assert launcher.run(noop).outside_cpu_seconds is None or launcher.group is not None
        launcher.group = Cgroup(_files(tmp_path, **{"cpu.stat": "usage_usec 5000000\n"}))
        assert launcher.run(noop).outside_cpu_seconds == 0.0
    finally:
        launcher.group = None
        launcher.close()
