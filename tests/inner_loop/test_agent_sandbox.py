"""An agent in its sandbox: a shell or Python script that tries to see, reach and use what it must not. Real bwrap."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.agents.job import LIMITS, Network, agent_job
from programs.common.errors import UsageError
from tests.inner_loop.test_command import SANDBOXED
from trainer.jobs.job import Ended
from trainer.jobs.sandboxed import run_sandboxed
from trainer.sandbox import lowered
from trainer.sandbox.blob import memory_file
from trainer.task import TASKS

pytestmark = SANDBOXED
CANARY = "canary-4711"


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    """A worktree deep in a study that holds what an agent must not see."""
    run = tmp_path / "study" / "runs" / "r1"
    (run / "worktree").mkdir(parents=True)
    for name in ("study/ledger.duckdb", "study/runs/r1/hidden.npy", "study/runs/r2/train.py", "beside"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CANARY)
    return run / "worktree"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Port and socket of a server that sends back the first thing it gets."""
    at_port, at_path = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    at_path.bind(str(tmp_path / "door"))
    at_path.listen()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                one, _ = listening.accept()
                with one:
                    one.sendall(b"echo " + one.recv(4096))

    for listening in (at_port, at_path):
        threading.Thread(target=serve, args=[listening], daemon=True).start()
    yield at_port.getsockname()[1], tmp_path / "door"
    for listening in (at_port, at_path):
        listening.close()


def shell(worktree: Path, script: str, **access: Any) -> Ended:
    return run_sandboxed(agent_job(["/bin/sh", "-c", script], worktree, **access))


def python(worktree: Path, script: str, *words: str, **access: Any) -> Ended:
    command = [os.path.realpath(sys.executable), "-I", "-S", "-c", script, *words]
    return run_sandboxed(agent_job(command, worktree, **access))


def test_agent_works_in_its_worktree_and_ends_with_its_exit_code(worktree: Path) -> None:
    (worktree / "train.py").write_text("old")
    ended = shell(worktree, "cat; pwd; echo new > train.py; exit 7", stdin=b"told\n")
    assert (ended.exit_code, ended.killed, ended.errors) == (7, "", "")
    assert ended.log.split() == ["told", str(worktree)]
    assert (worktree / "train.py").read_text() == "new\n"
    assert (worktree / "train.py").stat().st_uid == os.geteuid()


def test_nothing_beside_the_worktree_is_seen(worktree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", CANARY)
    leaked = os.open(worktree.parent / "hidden.npy", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    (worktree / "link").symlink_to(worktree.parent / "hidden.npy")
    script = f"""
        cat {worktree}/../hidden.npy {worktree}/../../r2/train.py {worktree}/../../../ledger.duckdb link
        cat /proc/*/environ /proc/*/cmdline /run/metaloop/*.json | tr '\\0' '\\n'
        for fd in 3 4 5 6 7 8 9 {leaked}; do cat /proc/self/fd/$fd; done
        ls /proc/{os.getpid()} ; ls /proc/1/root/ /proc/1/cwd/ ; env; true"""
    ended = shell(worktree, script, environment={"MY_KEY": "given"})
    os.close(leaked)
    seen = ended.log + ended.errors
    assert ended.exit_code == 0 and CANARY not in seen and "MY_KEY=given" in seen
    names = python(worktree, "import os; print(*os.environ)", environment={"A": "1"}).log.split()
    assert {*names} <= {"A", "PATH", "HOME", "TERM", "LANG", "LC_CTYPE"}
    found = "find / -path /proc -prune -o ( -name hidden.npy -o -name ledger.duckdb -o -name beside ) -print"
    (worktree / "link").unlink()
    assert run_sandboxed(agent_job(found.split(), worktree)).log == ""


def test_metaloops_own_code_is_not_there_while_its_packages_are(worktree: Path) -> None:
    script = """
for name in ("meta", "arena", "analysis", "inner_loop", "trainer", "programs"):
    try: __import__(name); print("seen", name)
    except ImportError: pass
import numpy; print("numpy")"""
    ended = run_sandboxed(agent_job([sys.executable, "-c", script], worktree))
    assert ended.log.split() == ["numpy"], ended.errors
    with pytest.raises(UsageError, match="must not see"):  # not even where a user shows it
        shell(worktree, "true", readable=(TASKS,))


def test_readable_paths_are_shown_and_hidden_ones_are_not(worktree: Path, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    for name in ("bin", "secret"):
        (tool / name).mkdir(parents=True)
    (tool / "bin" / "tool").write_text("#!/bin/sh\necho tool runs\n")
    (tool / "bin" / "tool").chmod(0o755)
    (tool / "secret" / "file").write_text(CANARY)
    (tool / "single").write_text(CANARY)
    hidden = (tool / "secret", tool / "single")
    script = f"tool; cat {tool}/secret/file {tool}/single; touch {tool}/x {tool}/secret/x || true"
    ended = shell(worktree, script, readable=(tool,), hidden=hidden)
    assert ended.log == "tool runs\n" and ended.errors.count("Read-only") >= 1
    assert not (tool / "x").exists()
    for path in (Path("/"), Path("/proc"), tmp_path / "no"):
        with pytest.raises(UsageError):
            shell(worktree, "true", readable=(path,))


def test_the_system_cannot_be_written(worktree: Path) -> None:
    script = """
        for place in / /usr /etc /dev /proc/sys/kernel /run/metaloop; do touch $place/x && echo wrote $place; done
        echo x > /proc/sys/kernel/core_pattern && echo wrote core_pattern
        grep -q " /proc/sys proc ro" /proc/mounts || echo settings
        unshare -U true && echo namespace; mount -t tmpfs none /tmp && echo mounted
        touch /tmp/x ~/x /dev/shm/x x && echo ok"""
    assert shell(worktree, script).log == "ok\n"


def test_credentials_are_a_copy_in_the_home(worktree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "auth.json"
    secret.write_text("token")
    secret.chmod(0o600)
    script = "cat ~/.codex/auth.json; echo new > ~/.codex/new && mv ~/.codex/new ~/.codex/auth.json"
    ended = shell(worktree, script, home={".codex/auth.json": secret})
    assert ended.log == "token" and ended.exit_code == 0 and secret.read_text() == "token"
    for home in ({"../x": secret}, {"x": tmp_path / "none"}):
        with pytest.raises(UsageError):
            shell(worktree, "true", home=home)


REACH = """
import os, socket, sys
port = socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))
door = socket.AF_UNIX, os.environ["METALOOP_DOOR"]
for family, address in (port, door):
    try:
        with socket.socket(family) as s:
            s.settimeout(5)
            s.connect(address)
            s.sendall(b"hi")
            print(s.recv(100).decode())
    except OSError as error: print(type(error).__name__)
"""


@pytest.mark.parametrize(("network", "said"), [("none", "ConnectionRefusedError"), ("full", "echo hi")])
def test_network_reaches_what_it_says_and_the_door_answers(
    network: Network, said: str, worktree: Path, server: tuple[int, Path]
) -> None:
    port, door = server
    ended = python(worktree, REACH, str(port), network=network, experiment_socket=door)
    assert ended.log.splitlines() == [said, "echo hi"], ended.errors


def test_disk_and_file_size_are_bounded(worktree: Path) -> None:
    limits = replace(LIMITS, disk_mb=20, file_mb=15)
    ended = shell(worktree, "head -c 16M /dev/zero > a; stat -c %s a; rm a", limits=limits)
    assert ended.log.split() == [str(15 << 20)]
    script = "for i in 1 2 3; do head -c 10M /dev/urandom > $i; done; sleep 600"
    assert shell(worktree, script, limits=limits).killed == "disk"


def test_a_worktree_that_is_also_elsewhere_is_refused(worktree: Path, tmp_path: Path) -> None:
    os.link(tmp_path / "beside", worktree / "inside")
    with pytest.raises(UsageError, match="also linked from outside"):
        shell(worktree, "true")
    (worktree / "inside").unlink()
    (worktree / ".git").write_text("gitdir: ../elsewhere\n")
    with pytest.raises(UsageError, match="linked git worktree"):
        shell(worktree, "true")


ABANDONED = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from inner_loop.agents.job import agent_job
from trainer.jobs.sandboxed import run_sandboxed
command = ["/bin/sh", "-c", "while true; do date +%N > alive; sleep 0.05; done"]
run_sandboxed(agent_job(command, Path({worktree!r})))
"""


def test_agent_dies_with_the_process_that_started_it(worktree: Path) -> None:
    script = ABANDONED.format(path=[str(TASKS.parent.parent)], worktree=str(worktree))
    alive, deadline = worktree / "alive", time.monotonic() + 200
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        while not alive.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        parent.kill()
    before, deadline = "nothing yet", time.monotonic() + 60
    while (now := alive.read_text()) != before:  # empty where it died in between its two steps
        assert time.monotonic() < deadline, "the agent goes on"
        before = now
        time.sleep(1)
    assert shell(worktree, "true").exit_code == 0 and worktree.stat().st_uid == os.geteuid()


AS_A_USER = """
import os, sys
os.environ["HOME"] = "/nonexistent"
sys.path[:0] = {path!r}
from pathlib import Path
from inner_loop.agents.job import agent_job
from trainer.jobs.sandboxed import run_sandboxed
from trainer.sandbox import bwrap
assert os.geteuid() == 54321 and bwrap.dropped_uid() is None
print(bwrap.probe())
command = ["/bin/sh", "-c", "id -u; touch made; cat ../hidden.npy"]
ended = run_sandboxed(agent_job(command, Path({worktree!r})))
print(ended.exit_code, ended.log.split(), ended.killed)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_works_as_an_ordinary_user_too(worktree: Path) -> None:
    for folder in (worktree, *worktree.parents[:3]):
        os.chmod(folder, 0o755)
    os.chown(worktree, 54321, 54321)
    packages = str(TASKS.parent.parent)
    sites = [path for path in sys.path if path.endswith("-packages")]
    script = AS_A_USER.format(path=[packages, *sites], worktree=str(worktree))
    reach = [os.path.realpath(sys.executable), sys.base_prefix, sys.prefix, packages, str(worktree.parent)]
    request = {"uid": 54321, "reach": reach, "command": [sys.executable, "-c", script], "keep": []}
    with os.fdopen(memory_file(marshal.dumps(request)), "rb") as order:
        fd = order.fileno()
        words = [sys.executable, "-I", "-S", "-B", lowered.__file__, str(fd)]
        done = subprocess.run(words, pass_fds=[fd], env={}, capture_output=True, text=True, timeout=250)
    assert done.stdout.splitlines() == ["None", "1 ['1000'] "], done.stderr
    assert (worktree / "made").stat().st_uid == 54321


@pytest.mark.parametrize("closed", ["holder/closed", "holder/closed/task", "holder/study"])
def test_shown_folder_may_hold_task_and_study_in_closed_folders(tmp_path: Path, closed: str) -> None:
    """As root, whose sandbox runs as another user: a path in a folder closed to others cannot be masked there."""
    holder = tmp_path / "holder"
    hidden, worktree = (holder / "closed" / "task", holder / "study"), holder / "study" / "run" / "worktree"
    for folder in (*hidden, worktree):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("closed/task/secret", "study/secret", "open"):
        (holder / name).write_text(CANARY if "secret" in name else "shown")
    (tmp_path / closed).chmod(0o700)
    script = f"cat {holder}/open; cat {holder}/*/secret {holder}/*/*/secret; echo new > made"
    ended = shell(worktree, script, readable=(holder,), hidden=hidden)
    assert ended.log == "shown" and ended.exit_code == 0 and (worktree / "made").read_text() == "new\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_shown_folder_that_its_user_may_not_enter_is_refused(worktree: Path, tmp_path: Path) -> None:
    (tool := tmp_path / "tool").mkdir(mode=0o700)
    with pytest.raises(UsageError, match=f"{tool} is closed to the user that runs the sandbox of root"):
        shell(worktree, "true", readable=(tool,))
