"""A command in its sandbox and without one: real processes, real hard lines, and what they cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from programs.common.errors import EnvironmentProblem, TaskError
from tests.trainer.foreign_repos import write_files
from trainer.commands.init import Drafting, write
from trainer.commands.task_toml import Wanted
from trainer.commands.view import readable_path, with_shown_paths
from trainer.jobs.job import Ended, Job, Limits
from trainer.jobs.plain import run_plain
from trainer.jobs.process_tree import ProcessTree
from trainer.jobs.sandboxed import run_sandboxed
from trainer.sandbox import bwrap, view
from trainer.sandbox.tree import descendants
from trainer.task import Task

LIMITS = Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_mb=512, disk_mb=32, output_mb=1, result_mb=1)


def run(line: str, *, limits: Limits = LIMITS, readable: Sequence[str] = (), **more: object) -> Ended:
    files = {"given/a.txt": b"given\n", "tool": b"#!/bin/sh\necho tool runs\n"}
    job = Job(["/bin/sh", "-c", line], files, limits, executable=["tool"], **more)  # type: ignore[arg-type]
    return run_sandboxed(with_shown_paths(job, readable, sandboxed=True))


def test_command_leaves_the_wanted_files() -> None:
    ended = run(
        "cat given/a.txt; ./tool; mkdir -p out/deep; echo x > out/deep/y; echo z > out/z", wanted=["out", "none.json"]
    )
    assert ended.exit_code == 0 and ended.killed == "" and ended.log == "given\ntool runs\n"
    assert ended.files == {"out/deep/y": b"x\n", "out/z": b"z\n"}
    assert ended.missing == ("none.json: No such file or directory",)


def test_cpu_before_the_first_process_is_not_charged() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        tree = ProcessTree(process, Job([], limits=LIMITS), first=process.pid)
        assert tree.look() < 0.2
        tree.end()


def test_sandbox_that_never_begins_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*_: object, pass_fds: list[int], **__: object) -> subprocess.Popen[bytes]:
        """A process that holds its end of the pipe and says nothing."""
        return subprocess.Popen(["sleep", "20"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=pass_fds)

    monkeypatch.setattr(view, "_START_SECONDS", 0.3)
    monkeypatch.setattr(bwrap, "launch", launch)
    began = time.monotonic()
    with pytest.raises(EnvironmentProblem):
        view.View().start({})
    assert time.monotonic() - began < 15


def test_descendants_without_lists_of_children_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    exists, listdir = os.path.exists, os.listdir

    def without(path: str) -> list[str]:
        if str(path).endswith("/task"):
            raise OSError
        return listdir(path)

    monkeypatch.setattr("os.path.exists", lambda path: path != "/proc/thread-self/children" and exists(path))
    monkeypatch.setattr(os, "listdir", without)
    with subprocess.Popen(["sleep", "60"]) as child:
        found = descendants(os.getpid())
        child.kill()
    assert {os.getpid(), child.pid} <= set(found)


@pytest.mark.parametrize("run_command", [run_sandboxed, run_plain])
def test_exit_code_is_the_commands_or_127(run_command: Callable[[Job], Ended]) -> None:
    assert run_command(Job(["sh", "-c", "exit 7"], limits=LIMITS)).exit_code == 7
    ended = run_command(Job(["no-such-program"], limits=LIMITS))
    assert ended.exit_code == 127 and "no-such-program: No such file" in ended.log


def test_signals_of_a_command_do_not_end_its_supervisor() -> None:
    """Which would be a fault of ours: repeated, not charged, and in the end the end of the study."""
    ended = run("for n in $(seq 1 64); do kill -$n 1 2>/dev/null; done; sleep 0.2; kill -2 $$; sleep 5")
    assert ended.exit_code == -2 and "Traceback" not in ended.log


def test_full_disk_is_the_commands_own_error() -> None:
    ended = run("head -c 100000000 /dev/zero > big; echo $?; ls -s big | cut -d' ' -f1")
    assert ended.killed == "" and int(ended.log.split()[-1]) <= 32 << 10


def test_command_reaches_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("canary-4711")
    monkeypatch.setenv("MY_API_KEY", "canary-4712")
    ended = run(
        f"env; cat {tmp_path}/secret; ls /home /root; cat /proc/1/environ /proc/1/cmdline; cat /etc/shadow; "
        "python3 -c 'import trainer'; python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 3)'; "
        "touch /usr/mark /etc/mark; kill -9 1; unshare -r true; mount -t tmpfs none /mnt; "
        "touch /var/tmp/mark && echo over"
    )
    assert "canary" not in ended.log and "MY_API_KEY" not in ended.log and ended.log.endswith("over\n")
    assert "No module named 'trainer'" in ended.log and "unreachable" in ended.log
    assert "/usr/mark': Read-only" in ended.log or "cannot touch '/usr/mark'" in ended.log


def test_wanted_links_pipes_and_large_files_are_missing() -> None:
    ended = run(
        "ln -s /etc/passwd link; mkfifo pipe; mkdir d; ln -s /etc d/etc; head -c 3000000 /dev/zero >big; echo ok >good",
        wanted=["link", "pipe", "d/etc/passwd", "big", "good"],
    )
    assert ended.files == {"good": b"ok\n"}
    assert [text.split(":")[0] for text in ended.missing] == ["link", "pipe", "d/etc/passwd", "big"]


def test_readable_path_is_read_only_and_never_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "text").write_text("shown\n")
    ended = run(f"cat {data}/text; echo x > {data}/new || echo closed", readable=[str(data)])
    assert ended.log.startswith("shown\n") and ended.log.endswith("closed\n") and not (data / "new").exists()
    home = tmp_path / "home"
    for name in (".cache/theirs", ".ssh"):
        (home / name).mkdir(parents=True)
    (home / ".cache/theirs/x").write_text("cached\n")
    monkeypatch.setenv("HOME", str(home))
    assert run("cat ~/.cache/theirs/x", readable=["~/.cache/theirs"]).log == "cached\n"
    (home / "innocent").symlink_to(home / ".ssh")
    for text in ("~/.ssh", "/", "/etc", "~", "relative", "/usr/../etc", str(home), str(home / "innocent")):
        with pytest.raises(TaskError):
            readable_path(text)


def test_bare_command_is_fetched_ended_and_counted(tmp_path: Path) -> None:
    line = (
        "(while :; do :; done) & echo $! > pid; python3 -c 'sum(range(10**7))'; echo said; echo 1 > out.txt;"
        " echo x >> data.txt; exit 3"
    )
    command, files = ["/bin/sh", "-c", line], {"data.txt": b"d"}
    ended = run_plain(Job(command, files, LIMITS, wanted=["out.txt", "pid", "none"], kept=["data.txt"]))
    assert (ended.exit_code, ended.killed, ended.log) == (3, "", "said\n") and ended.files["out.txt"] == b"1\n"
    assert ended.written == ("data.txt",) and ended.missing == ("none: No such file or directory",)
    assert ended.cpu_seconds > 0.05 and ended.peak_memory_mb > 1
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int(ended.files["pid"]), 0)
            time.sleep(0.05)


def test_bare_command_has_the_users_home_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "7")
    code = "import os\nprint('home:', float(os.path.expanduser('~') == os.environ['HOME']) + int(os.environ['MINE']))\n"
    place = write_files(tmp_path / "repo", {"train.py": code})
    found = Drafting(place, sandbox=False).draft(Wanted(direction="higher", noise="unknown"))
    assert ("metric", "home") in {(fact.field, fact.value) for fact in found.facts}
    assert Task.load(write(found, None)).metric == "home"
