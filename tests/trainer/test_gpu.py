"""The GPU profile without a GPU: files stand in for device nodes, a shell script for nvidia-smi."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from programs.errors import Busy, EnvironmentProblem
from trainer import gpu
from trainer.bwrap import find_bwrap
from trainer.gpu import GpuUsage, Lease, Leftover


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    root = tmp_path / "dev"
    (root / "nvidia-caps").mkdir(parents=True)
    names = ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "null")
    for name in (*names, "nvidia-caps/nvidia-cap1"):
        (root / name).touch()
    (root / "nvidia3").symlink_to("null")
    (root / "nvidia4").mkdir()
    return root


@pytest.fixture
def smi(tmp_path: Path) -> Callable[..., Path]:
    """A stand-in for nvidia-smi that answers the two queries from two files."""

    def make(apps: str = "", used: str = "0\n", status: int = 0) -> Path:
        (tmp_path / "apps").write_bytes(apps.encode("utf-8", "surrogateescape"))
        (tmp_path / "used").write_text(used)
        tool = tmp_path / "nvidia-smi"
        tool.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ {status} = 0 ] || echo "no devices" >&2\n'
            f"case $1 in --query-compute-apps=*) cat {tmp_path}/apps;; *) cat {tmp_path}/used;; esac\nexit {status}\n"
        )
        tool.chmod(0o755)
        return tool

    return make


def test_nodes_in_order(dev: Path) -> None:
    names = [str(path.relative_to(dev)) for path in gpu.device_nodes(dev)]
    shared = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1"]
    assert names == ["nvidia0", "nvidia2", "nvidia10", *shared]
    assert gpu.device_nodes(dev / "none") == []


def test_one_gpu_is_let_in(dev: Path) -> None:
    arguments = gpu.bwrap_arguments(gpu.device_nodes(dev), 2)
    shared = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1")
    expected = [part for name in ("nvidia2", *shared) for part in ("--dev-bind", f"{dev}/{name}", f"{dev}/{name}")]
    assert arguments == [*expected, "--ro-bind", "/sys", "/sys"]


def test_a_container_with_one_gpu_of_several(dev: Path) -> None:
    assert str(dev / "nvidia2") in gpu.bwrap_arguments([dev / "nvidia2", dev / "nvidiactl"], 0)


@pytest.mark.parametrize("names", [(), ("nvidiactl",), ("nvidia0", "nvidia2")])
def test_a_gpu_that_is_not_there(dev: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(EnvironmentProblem, match="GPU 7 has no device node"):
        gpu.bwrap_arguments([dev / name for name in names], 7)


def test_lease_is_exclusive_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    with (
        Lease(0, folder),
        Lease(1, folder),
        pytest.raises(Busy, match=rf"^GPU 0 is in use by process {os.getpid()}$"),
    ):
        Lease(0, folder)
    with Lease(0, folder):
        assert (folder / "gpu-0.lock").read_text() == f"{os.getpid()}\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_lease_holds_after_the_logout_of_its_holder() -> None:
    """The holder sees a folder /run/user/UID, as during a login; this process does not."""
    index = 100_000 + os.getpid()
    code = f"from trainer.gpu import Lease\nlease = Lease({index})\nprint('held', flush=True)\ninput()"
    session = ["--dev-bind", "/", "/", "--tmpfs", "/run", "--perms", "0700", "--dir", f"/run/user/{os.geteuid()}"]
    command = [str(find_bwrap()[0]), *session, sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        try:
            with pytest.raises(Busy, match=f"GPU {index} is in use"):
                Lease(index)
        finally:
            holder.kill()
    (gpu.runtime_folder() / f"gpu-{index}.lock").unlink()


def test_lease_of_another_process_ends_with_it(tmp_path: Path) -> None:
    code = "import sys\nfrom trainer.gpu import Lease\nfrom pathlib import Path\nlease = Lease(3, Path(sys.argv[1]))\n"
    code += "print('held', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "leases")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"process {holder.pid}"):
            Lease(3, tmp_path / "leases")
        holder.kill()
        holder.wait()
        Lease(3, tmp_path / "leases").release()


def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (tmp_path / "planted").symlink_to(victim)
    with pytest.raises(EnvironmentProblem, match="is a link or not a folder"):
        Lease(0, tmp_path / "planted")
    (victim / "precious").write_text("kept")
    (victim / "gpu-0.lock").symlink_to("precious")
    with pytest.raises(EnvironmentProblem, match=r"gpu-0\.lock"):
        Lease(0, victim)
    assert (victim / "precious").read_text() == "kept"


def test_an_open_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(EnvironmentProblem, match="users other than"):
        Lease(0, tmp_path / "open")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to another user")
def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(EnvironmentProblem, match="users other than"):
        Lease(0, tmp_path / "theirs")


def test_leftovers_are_read(smi: Callable[..., Path], tmp_path: Path) -> None:
    rows = "4242, 312, python, train.py\n77, [N/A], [Not Found]\n78, [Not Supported], /usr/bin/x\x1b[31m\n\n"
    found = gpu.leftovers(1, smi(rows))
    assert found == [
        Leftover(4242, 312, "python, train.py"),
        Leftover(77, None, "[Not Found]"),
        Leftover(78, None, "/usr/bin/x?[31m"),
    ]
    asked = (tmp_path / "asked").read_text()
    assert asked == "--query-compute-apps=pid,used_memory,process_name --format=csv,noheader,nounits -i 1\n"


@pytest.mark.parametrize("rows", ["x, 312, python\n", "1, -3, python\n", "1, 2, \n", "\udcff, 1, x\n"])
def test_garbage_is_one_line(smi: Callable[..., Path], rows: str) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot read its line") as caught:
        gpu.leftovers(0, smi(rows))
    assert "\n" not in caught.value.message


def test_used_memory(smi: Callable[..., Path]) -> None:
    assert gpu.used_memory_mb(0, smi(used="1234\n")) == 1234
    assert gpu.used_memory_mb(0, smi(used="[N/A]\n")) is None
    for odd in ("", "1\n2\n", "1 MiB\n", "٣\n"):
        with pytest.raises(EnvironmentProblem, match="cannot read its line"):
            gpu.used_memory_mb(0, smi(used=odd))


def test_a_tool_that_fails(smi: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="exit status 6: no devices"):
        gpu.leftovers(0, smi(status=6))
    with pytest.raises(EnvironmentProblem, match="No such file"):
        gpu.leftovers(0, tmp_path / "none")


def test_memory_that_nobody_answers_for(smi: Callable[..., Path]) -> None:
    before, findings = gpu.clean_before(0, smi(used="3\n"))
    assert findings == ()
    assert gpu.clean_after(0, before, smi(used="12\n"), patience=0.0) == ()
    found = gpu.clean_after(0, before, smi(used="315\n"), patience=0.0)
    assert found == ("gpu: 312 MB still in use after the experiment (no process is reported)",)
    assert gpu.clean_after(0, before, smi(used="[N/A]\n"), patience=0.0) == ()


def test_memory_that_nobody_answers_for_is_seen_beside_processes_that_do(smi: Callable[..., Path]) -> None:
    before, _ = gpu.clean_before(0, smi("5, 100, desktop\n", "110\n"))
    assert gpu.clean_after(0, before, smi("5, 140, desktop\n", "150\n"), patience=0.0) == ()  # the desktop's own
    assert gpu.clean_after(0, before, smi("", "10\n"), patience=0.0) == ()  # it has ended
    hidden = gpu.clean_after(0, before, smi("5, 100, desktop\n", "422\n"), patience=0.0)
    assert hidden == ("gpu: 312 MB still in use after the experiment (no process is reported)",)
    both = gpu.clean_after(0, before, smi("5, 100, desktop\n7, 50, x\n", "472\n"), patience=0.0)
    assert both == ("gpu: 50 MB still in use after the experiment (pid 7)", *hidden)


def test_memory_that_is_freed_a_little_late(smi: Callable[..., Path], tmp_path: Path) -> None:
    tool = smi(used="500\n")
    (tmp_path / "freed").write_text("2\n")
    later = threading.Timer(0.3, (tmp_path / "freed").replace, [tmp_path / "used"])
    later.start()
    assert gpu.clean_after(0, GpuUsage(0, ()), tool, patience=100.0) == ()
    later.join()
