"""bwrap is found, a sandbox really starts, and where it does not the user is told why and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from programs.common.distribution import install_line
from programs.common.errors import EnvironmentProblem
from trainer.sandbox import bwrap

linux = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap needs Linux")


@linux
def test_the_binary_of_the_wheel_is_found_else_that_of_path(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.run([bwrap.find_bwrap(), "--version"], capture_output=True, text=True).stdout
    assert said.startswith("bubblewrap")
    monkeypatch.setattr(bwrap, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: "/opt/bwrap")
    assert bwrap.find_bwrap() == Path("/opt/bwrap")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EnvironmentProblem, match="not installed") as problem:
        bwrap.find_bwrap()
    assert problem.value.hint == install_line("train")


@linux
def test_a_binary_that_does_not_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("no program")
    broken.chmod(0o755)
    monkeypatch.setattr(bwrap, "_binary", lambda: broken)
    assert str(bwrap.probe()).startswith("no sandbox: ")


@linux
def test_a_root_without_further_user_ids_is_recognised() -> None:
    """The real failure: the root of a user namespace that holds one id, as in a rootless container without subuids."""
    enter = ["unshare", "--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*enter, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    script = "from trainer.sandbox import bwrap; print(bwrap.probe())"
    done = subprocess.run([*enter, sys.executable, "-c", script], capture_output=True, text=True)
    assert "no other user id" in done.stdout and "ordinary user" in done.stdout, done.stderr


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EnvironmentProblem, match="needs Linux"):
        bwrap.find_bwrap()


@linux
def test_a_namespace_without_room_for_another_is_recognised() -> None:
    """The real failure: a user namespace in which no further one may be made."""
    if bwrap.probe() is not None or shutil.which("unshare") is None:
        pytest.skip("no user namespaces here")
    path = bwrap.find_bwrap()
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {path} --unshare-user --ro-bind / / true"
    done = subprocess.run(["unshare", "-U", "-r", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode
    problem = bwrap.diagnose(done.stderr)
    assert "user namespaces" in problem.message and "max_user_namespaces" in problem.hint


@pytest.mark.parametrize(
    ("setting", "said", "message", "hint"),
    [
        ({"kernel/unprivileged_userns_clone": "0"}, "bwrap: No permissions to create new namespace",
         "user namespaces are disabled", "unprivileged_userns_clone=1"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "bwrap: setting up uid map: Permission denied",
         "AppArmor", "apparmor_restrict_unprivileged_userns=0"),
        ({}, "bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "masks /proc", "systempaths"),
        ({}, "bwrap: Creating new namespace failed: Operation not permitted", "this container", "seccomp=unconfined"),
        ({}, "first\nbwrap: some other thing", "bwrap: some other thing", "metaloop doctor"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "bwrap: some other thing", "bwrap: some other thing",
         "metaloop doctor"),
    ],
)  # fmt: skip
def test_each_cause_has_a_cure(
    setting: dict[str, str], said: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bwrap, "_setting", lambda name: setting.get(name, ""))
    monkeypatch.setattr(bwrap, "_in_container", lambda: True)
    problem = bwrap.diagnose(said)
    assert message in problem.message and hint in problem.hint and "\n" not in problem.message


@linux
def test_path_that_only_root_may_walk_to_is_bound_alone(tmp_path: Path) -> None:
    if bwrap.probe() is not None:
        pytest.skip("no sandbox here")
    closed = tmp_path / "closed"
    (closed / "wanted").mkdir(parents=True)
    (closed / "wanted" / "file").write_text("seen")
    (closed / "secret").write_text("hidden")
    closed.chmod(0o700)
    see = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--ro-bind-try", "/lib", "/lib",
           "--ro-bind-try", "/lib64", "/lib64", "--ro-bind", str(closed / "wanted"), "/wanted"]  # fmt: skip
    enter = ["--unshare-all", "--unshare-user", "--die-with-parent"]
    command = ["--", "/bin/sh", "-c", "cat /wanted/file; ls /; id -u; ls /proc/self/fd; tr '\\0' ' ' </proc/1/environ"]
    with bwrap.launch([*enter, *see, "--proc", "/proc"], command, reach=[closed / "wanted", Path("/usr")]) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(b"seen") and b"closed" not in out and str(tmp_path).encode() not in out
    uid = out.split(b"wanted")[-1].split()[0]
    assert int(uid) == (bwrap.dropped_uid() or os.getuid())
    assert (closed / "secret").read_text() == "hidden"  # covered there, not here


@pytest.mark.parametrize(("uid", "mapped"), [(0, True), (5, True), (65_536, True), (65_537, False), (1_000_000, False)])
def test_a_user_id_exists_where_one_of_the_rows_has_it(uid: int, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Path, "read_text", lambda *_: "         0       1000          1\n         1     100000      65536\n"
    )
    assert bwrap._is_mapped(uid) is mapped
