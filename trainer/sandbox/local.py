"""LocalLauncher: a warm template on this machine, by default in a sandbox, that forks for each experiment."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import stat
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from programs.errors import EnvironmentProblem
from trainer.inside import wire
from trainer.sandbox import bwrap, outer
from trainer.sandbox.blob import Blob
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.launcher import Ended, LauncherFault, ProcessLimits, ProcessRequest, StopProcess, read_reply
from trainer.sandbox.tree import offspring

_HELD = "held"  # this file exists once the owner has the lock; without it, a free lock means nothing
_STALE_SECONDS = 3600.0  # for folders without that file: on a file system without locks
_PREFIX = "metaloop-"


class WorkFolder:
    """A work folder, in memory if possible. Creating one removes the folders of dead owners."""

    def __init__(self) -> None:
        shm = Path("/dev/shm")
        parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        self._lock = _hold(self.path)

    def ensure(self) -> Path:
        """The folder; created again if a template that was killed during an experiment has removed it."""
        if not self.path.is_dir():
            self.path.mkdir()
            self._release()
            self._lock = _hold(self.path)
        return self.path

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(parent: Path) -> None:
    """Remove this user's work folders in ``parent`` whose owner is dead."""
    for old in parent.glob(f"{_PREFIX}*-*"):
        with suppress(OSError):
            if old.name.split("-")[1].isdigit() and _is_ours(old) and _is_left(old):
                shutil.rmtree(old, ignore_errors=True)


def _hold(folder: Path) -> int | None:
    """A descriptor with the lock; None if the file system has no locks."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _HELD).touch()
    except OSError:
        os.close(lock)
        return None
    return lock


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_left(folder: Path) -> bool:
    if not (folder / _HELD).exists():
        owner = folder.name.split("-")[1]
        return not Path("/proc", owner).exists() and time.time() - folder.stat().st_mtime > _STALE_SECONDS
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


if TYPE_CHECKING:
    from pydantic import JsonValue


_PACKAGES = str(Path(__file__).resolve().parents[2])
_START_SECONDS = 300.0  # importing torch on a busy machine from a cold disk has taken 80 s
_GRACE_SECONDS = 30.0  # beyond the wall limit, after which the template counts as dead
_CALIBRATION_FORKS = 7
_PYTHON = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
_TEMPLATE_MB = 1024  # memory of the template and its files, beyond the experiment's limit
UNSAFE = "or run trusted code without a sandbox: --no-sandbox"


def clean_environment() -> dict[str, str]:
    """The minimal environment of a template: no keys, no user settings, one thread."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "metaloop"}


class LocalLauncher:
    """Starts its template at first use, after the template died, and for another training split.

    ``torch``: whether the template imports it, otherwise NumPy. ``number``: its index in this process. All its
    processes die with the thread that calls it (`trainer.devices`).
    """

    def __init__(self, *, sandbox: bool = True, torch: bool = True, number: int = 0) -> None:
        self.constant = 0.0
        self.sandboxed = sandbox
        self.restarts = -1
        self.template_pid: int | None = None
        self.group: Cgroup | None = None
        self._capped = 0  # MB, the limit of the cgroup
        self.torch = torch
        self._number = number
        self._data: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._folder: WorkFolder | None = None

    @property
    def _root(self) -> Path | None:
        return self._folder.path if self._folder else None

    def start(self, data: Path | None = None) -> None:
        """Start, test and calibrate the template unless it runs. ``data``: the training split to show in it.

        Raises EnvironmentProblem, and leaves nothing behind, if it cannot start.
        """
        if self.sandboxed and data is not None and data != self._data:
            self._stop()  # a sandbox shows one training split
            self._data = data
        if self._process is not None:
            return
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        if sys.platform != "linux":
            raise EnvironmentProblem("experiments need Linux (namespaces, pidfd)", hint="use WSL or a container")
        self._folder = self._folder or WorkFolder()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = self._folder.ensure() / "template.log"
        with theirs, log.open("wb") as errors:
            try:
                self._process = self._spawn(theirs.fileno(), errors.fileno())
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        self.restarts += 1
        try:
            self._receive(_START_SECONDS)
            self._enclose()
            if self.sandboxed:
                self._try_sandbox(log)
            if not self.constant:
                self._calibrate()
        except LauncherFault as fault:
            said = log.read_text("utf-8", "replace").strip().splitlines()
            self._stop()
            raise self._unable(said[-1] if said else str(fault)) from None

    def _unable(self, reason: str) -> EnvironmentProblem:
        if self.sandboxed:
            try:
                bwrap.ensure()
            except EnvironmentProblem as problem:
                return EnvironmentProblem(problem.message, hint=f"{problem.hint}, {UNSAFE}")
            if closed := _closed_packages():
                return closed
        what = "the sandboxed warm template" if self.sandboxed else "the warm template"
        return EnvironmentProblem(f"{what} does not start: {reason}", hint="run metaloop doctor to check this machine")

    def _spawn(self, descriptor: int, errors: int) -> subprocess.Popen[bytes]:
        settings: dict[str, JsonValue] = {"worker": os.getpid(), "torch": self.torch, "uid": None}
        temporary = outer.TEMPORARY if self.sandboxed else str(self._root)
        environment = clean_environment() | _PYTHON | {"TMPDIR": temporary, "HOME": temporary}
        passed = [descriptor]
        if self.sandboxed:
            binary = str(bwrap.find_bwrap()[0])
            privileged = os.geteuid() == 0
            uid = outer.unprivileged_id(self._number) if privileged else None
            settings |= {"root": "", "home": outer.HOME, "path": [*outer.packages()], "uid": uid}
            # through a descriptor, so that the command line shows no path of the host
            given = Blob("\0".join(outer.arguments(self._data, privileged=privileged)).encode())
            os.lseek(given.fd, 0, os.SEEK_SET)
            passed.append(given.fd)
            command = [binary, "--args", str(given.fd), "--", *outer.command(descriptor, json.dumps(settings))]
        else:
            settings |= {"root": str(self._root), "home": _PACKAGES, "path": []}
            command = [sys.executable, "-P", "-c", outer.START, str(descriptor), json.dumps(settings)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=passed,
            env=environment,
            start_new_session=True,
        )

    def _enclose(self) -> None:
        """Move the template into a cgroup, if possible, for a second measurement of CPU time and a memory limit."""
        assert self._process is not None
        self.template_pid = self._process.pid
        if self.sandboxed:
            self.template_pid = (offspring(self._process.pid) or [self._process.pid])[0]
        self.group = self.group or Cgroup.create(f"{os.getpid()}-{id(self):x}")
        if self.group and not self.group.add(self.template_pid):
            self.group.close()
            self.group = None

    def _try_sandbox(self, canary: Path) -> None:
        names = [*clean_environment(), "METALOOP_TRAIN_CHECKPOINT", "METALOOP_TRAIN_DATA", "TMPDIR", "HOME"]
        settings: dict[str, JsonValue] = {"canary": str(canary), "bound": [*outer.bound()], "environment": [*names]}
        ended = self._ask(ProcessRequest("selftest", ProcessLimits(10.0, 60.0), settings=settings), None)
        if ended.exit_code != 0:
            self._stop()
            raise EnvironmentProblem(f"the sandbox is not secure: {ended.error}", hint=f"do not use it, {UNSAFE}")

    def _calibrate(self) -> None:
        noop = ProcessRequest("noop", ProcessLimits(10.0, 60.0))
        self.constant = statistics.median(self._ask(noop, None).cpu_seconds for _ in range(_CALIBRATION_FORKS))

    def run(self, request: ProcessRequest, meanwhile: Callable[[], None] | None = None) -> Ended:
        """Run one process until it ends. ``meanwhile`` communicates with it and may raise StopProcess to kill it."""
        self.start(request.data)
        self._cap(request.limits.memory_mb + 2 * request.limits.file_mb + _TEMPLATE_MB)
        return self._ask(request, meanwhile)

    def _cap(self, memory_mb: int) -> None:
        if self.group and memory_mb != self._capped:
            self.group.limit(memory_mb=memory_mb, processes=None)
            self._capped = memory_mb

    def _ask(self, request: ProcessRequest, meanwhile: Callable[[], None] | None) -> Ended:
        """Send one request and wait for the result. LauncherFault, after stopping the template, for a bad reply."""
        limits = request.limits
        message = {
            "kind": request.kind,
            "data": str(request.data) if request.data and not self.sandboxed else "",  # a candidate reads this message
            "environment": dict(request.environment),
            "kept_environment": clean_environment(),
            "settings": dict(request.settings),
            "files": [(name, len(text)) for name, text in request.files.items()],
            "checkpoint_bytes": request.checkpoint_mb << 20,
            "cpu_limit": limits.cpu_seconds,
            "wall_limit": limits.wall_seconds,
            "memory_mb": limits.memory_mb,
            "file_mb": limits.file_mb,
        }
        before = self.group.cpu_seconds() if self.group else None
        try:
            assert self._socket is not None
            with Blob(b"".join(request.files.values())) as files:
                wire.send(self._socket, message, {**request.descriptors, "files": files.fd})
            try:
                if meanwhile:
                    meanwhile()
            except StopProcess:
                wire.send(self._socket, {"stop": True})
            ended = read_reply(self._receive(limits.wall_seconds + _GRACE_SECONDS))
        except (OSError, ValueError, LauncherFault) as error:
            self._stop()
            raise LauncherFault(str(error)) from error
        except BaseException:
            self._stop()
            raise
        after = self.group.cpu_seconds() if self.group else None
        return replace(ended, outside_cpu_seconds=None if before is None or after is None else after - before)

    def _receive(self, timeout: float) -> dict[str, JsonValue]:
        assert self._socket is not None
        self._socket.settimeout(timeout)
        try:
            answer = wire.receive(self._socket)
        except TimeoutError:
            raise LauncherFault(f"the template has not answered for {timeout:.0f} s") from None
        except OSError as error:
            raise LauncherFault(f"the template is gone: {error}") from None
        if answer is None:
            raise LauncherFault("the template is gone")
        for descriptor in answer[1].values():  # none are expected
            os.close(descriptor)
        return answer[0]

    def _stop(self) -> None:
        """Close the socket, upon which the template kills its processes and exits; kill it if it does not exit."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                with suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._process = self._socket = self.template_pid = None

    def close(self) -> None:
        """End the template, remove its work folder, and release the cgroup."""
        self._stop()
        if self.group:
            self.group.close()
            self.group, self._capped = None, 0
        if self._folder is not None:
            self._folder.remove()
            self._folder = None


def check_sandbox() -> None:
    """Test the sandbox without importing torch. Raises EnvironmentProblem, with the cure, if it does not work."""
    launcher = LocalLauncher(torch=False)
    try:
        launcher.start()
    finally:
        launcher.close()
    if closed := _closed_packages():
        raise closed


def _closed_packages() -> EnvironmentProblem | None:
    """The error if root starts the sandbox and its unprivileged user cannot read the packages; otherwise None."""
    path = outer.unreadable() if os.geteuid() == 0 else ""
    if not path:
        return None
    prefix = sys.prefix if path.startswith(f"{sys.prefix}/") else sys.base_prefix
    message = f"no sandbox: it runs as another user, who may not read {path}"
    return EnvironmentProblem(message, hint=f"chmod -R a+rX {shlex.quote(prefix)}, {UNSAFE}")
