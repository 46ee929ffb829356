"""LocalLauncher: a warm template on this machine, by default in a sandbox, that forks for each experiment."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from programs.common.bounded import json_value
from programs.common.errors import EnvironmentProblem, NoSandbox
from trainer.inside import wire
from trainer.jobs.job import Ended, ForkedJob, Killed, LauncherFault, Limits, plain
from trainer.sandbox import bwrap, filters, outer
from trainer.sandbox.blob import Blob
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.tree import descendants

if TYPE_CHECKING:
    from pydantic import JsonValue


_PACKAGES = str(Path(__file__).resolve().parents[2])
_START_SECONDS = 300.0  # importing torch on a busy machine from a cold disk has taken 80 s
_LOOK_SECONDS = 0.05  # between two calls of ``attend``
_GRACE_SECONDS = 30.0  # beyond the wall limit, after which the template counts as dead
_CALIBRATION_FORKS = 7
_PYTHON = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
_TEMPLATE_MB = 1024  # memory of the template and its files, beyond the experiment's limit


def clean_environment() -> dict[str, str]:
    """The minimal environment of a template: no keys, no user settings, one thread."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "metaloop"}


class LocalLauncher:
    """Starts its template at first use, after the template died, and for another training split.

    ``torch``: whether the template imports it, otherwise NumPy. ``imports``: modules that experiments may import beside
    these and the standard library. All its processes die with the thread that calls it
    (`trainer.devices`).
    """

    def __init__(self, *, sandbox: bool = True, torch: bool = True, imports: Sequence[str] = ()) -> None:
        self.constant = 0.0
        self.sandboxed = sandbox
        self.restarts = -1
        self.template_pid: int | None = None
        self.group: Cgroup | None = None
        self.torch = torch
        self.imports = imports
        self._data: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._folder: Path | None = None  # with the template's log and, without a sandbox, its experiments

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
        self._folder = self._folder or _work_folder()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._folder.mkdir(mode=0o700, exist_ok=True)  # a template that was killed during an experiment has removed it
        log = self._folder / "template.log"
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
            lines: list[str] = []
            with suppress(OSError):  # a template that ends removes its folder
                lines = log.read_text("utf-8", "replace").strip().splitlines()
            self._stop()
            raise self._unable(lines[-1] if lines else str(fault)) from None

    def _unable(self, reason: str) -> EnvironmentProblem:
        if self.sandboxed:
            try:
                bwrap.ensure()
            except NoSandbox as problem:
                return problem
            if closed := _closed_packages():
                return closed
        what = "the sandboxed warm template" if self.sandboxed else "the warm template"
        return EnvironmentProblem(f"{what} does not start: {reason}", hint="run metaloop doctor to check this machine")

    def _spawn(self, descriptor: int, errors: int) -> subprocess.Popen[bytes]:
        settings: dict[str, JsonValue] = {"worker": os.getpid(), "torch": self.torch, "root": "", "filter": ""}
        temporary = outer.TEMPORARY if self.sandboxed else str(self._folder)
        environment = clean_environment() | _PYTHON | {"TMPDIR": temporary, "HOME": temporary}
        if self.sandboxed:
            settings |= {"home": outer.HOME, "path": [*outer.packages()], "shown": self._shown()}
            settings |= {"filter": filters.candidate().hex(), "wall": filters.wall().hex()}
            more = ["--chdir", temporary, *(word for item in environment.items() for word in ("--setenv", *item))]
            command = outer.command(descriptor, json.dumps(settings))
            return outer.view(self._data).launch(
                command, more, pass_fds=[descriptor], stdout=subprocess.DEVNULL, stderr=errors
            )
        settings |= {"root": str(self._folder), "home": _PACKAGES, "path": []}
        return subprocess.Popen(
            [sys.executable, "-P", "-c", outer.START, str(descriptor), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[descriptor],
            env=environment,
            start_new_session=True,
        )

    def _shown(self) -> list[JsonValue]:
        return [*outer.shown(self.torch, self.imports)]

    def _enclose(self) -> None:
        """Move the template into a cgroup, if possible, for a second measurement of CPU time and a memory limit."""
        assert self._process is not None
        self.template_pid = self._process.pid
        if self.sandboxed:
            self.template_pid = (descendants(self._process.pid)[1:] or [self._process.pid])[0]
        self.group = self.group or Cgroup.create(f"{os.getpid()}-{id(self):x}")
        if self.group and not self.group.add(self.template_pid):
            self.group.close()
            self.group = None

    def _try_sandbox(self, canary: Path) -> None:
        names = [*clean_environment(), "METALOOP_TRAIN_CHECKPOINT", "METALOOP_TRAIN_DATA", "TMPDIR", "HOME"]
        settings: dict[str, JsonValue] = {"canary": str(canary), "bound": self._shown(), "environment": [*names]}
        ended = self._ask(ForkedJob(["selftest"], limits=Limits(10.0, 60.0), settings=settings), None)
        if ended.exit_code != 0:
            self._stop()
            raise NoSandbox(f"the sandbox is not secure: {ended.error}", hint="do not use it")

    def _calibrate(self) -> None:
        noop = ForkedJob(["noop"], limits=Limits(10.0, 60.0))
        self.constant = statistics.median(self._ask(noop, None).cpu_seconds for _ in range(_CALIBRATION_FORKS))

    def run(self, job: ForkedJob, attend: Callable[[], bool] | None = None) -> Ended:
        """Run a job until it ends. ``attend`` is called while it runs, and ends it by returning False."""
        self.start(job.data)
        if self.group:
            self.group.limit(job.limits.memory_mb + 2 * job.limits.largest_file_mb + _TEMPLATE_MB, processes=None)
        return self._ask(job, attend)

    def _ask(self, job: ForkedJob, attend: Callable[[], bool] | None) -> Ended:
        """Send one request and wait for the result. LauncherFault, after stopping the template, for a bad reply."""
        limits = job.limits
        message = {
            "kind": job.command[0],
            "data": str(job.data) if job.data and not self.sandboxed else "",  # a candidate reads this message
            "environment": dict(job.environment),
            "kept_environment": clean_environment(),
            "settings": dict(job.settings),
            "files": [(name, len(text)) for name, text in job.files.items()],
            "checkpoint_bytes": job.checkpoint_mb << 20,
            "cpu_limit": limits.cpu_seconds,
            "wall_limit": limits.wall_seconds,
            "memory_mb": limits.memory_mb,
            "file_mb": limits.largest_file_mb,
        }
        before = self.group.cpu_seconds() if self.group else None
        try:
            assert self._socket is not None
            request, files = json.dumps(message).encode(), b"".join(job.files.values())
            ours, theirs = socket.socketpair()  # the process is killed when our end closes
            with Blob(request) as order, Blob(files) as content, Blob() as answer, ours, theirs:
                named = {"request": order.fd, "files": content.fd, "answer": answer.fd, "stop": theirs.fileno()}
                wire.send(self._socket, {}, {**job.descriptors, **named})
                while attend:
                    if not attend():
                        ours.close()
                        break
                    if select.select([self._socket], [], [], _LOOK_SECONDS)[0]:
                        break
                reply = self._receive(limits.wall_seconds + _GRACE_SECONDS)
                ended = read_reply(reply, answer.read(wire.MESSAGE_BYTES))
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
            self.group = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _work_folder() -> Path:
    """A new folder, in memory if possible."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="metaloop-", dir=shm if os.access(shm, os.W_OK) else None))


def check_sandbox() -> None:
    """Test the sandbox without importing torch. Raises NoSandbox, with the cure, if it does not work."""
    launcher = LocalLauncher(torch=False)
    try:
        launcher.start()
    finally:
        launcher.close()
    if closed := _closed_packages():
        raise closed


def _closed_packages() -> NoSandbox | None:
    """The error if root starts the sandbox and its unprivileged user cannot read the packages; otherwise None."""
    path = outer.unreadable() if os.geteuid() == 0 else ""
    if not path:
        return None
    prefix = sys.prefix if path.startswith(f"{sys.prefix}/") else sys.base_prefix
    message = f"no sandbox: it runs as another user, who may not read {path}"
    return NoSandbox(message, hint=f"chmod -R a+rX {shlex.quote(prefix)}")


_FIT: dict[str, Callable[[Any], bool]] = {
    "float": lambda value: type(value) in (int, float) and 0 <= value < 1e9,
    "int": lambda value: type(value) is int and -256 < value < 256,
    "Killed": lambda value: type(value) is str and value in get_args(Killed),
    "str": lambda value: type(value) is str and len(value) <= 40_000,  # characters
}


def read_reply(reply: Mapping[str, JsonValue], answer: bytes) -> Ended:
    """The template's reply with its monitor's answer, which an escaped experiment may have written. LauncherFault or
    ValueError if they are invalid."""
    message = json_value(answer) if answer else {"broken": f"the monitor ended with status {reply.get('status')}"}
    if not isinstance(message, dict):
        raise LauncherFault("the monitor's answer is not an object")
    seconds = reply.get("cpu_seconds"), message.get("hidden_cpu_seconds", 0.0)
    message |= {**reply, "cpu_seconds": sum(seconds) if all(map(_FIT["float"], seconds)) else None}  # type: ignore[arg-type]
    if "broken" in message:
        raise LauncherFault(plain(message["broken"][:500]) if isinstance(message["broken"], str) else "broken")
    values: dict[str, Any] = {}
    for item in fields(Ended):
        if str(item.type) in _FIT:  # the others we measure and fetch ourselves
            values[item.name] = message.get(item.name, item.default)
            if not _FIT[str(item.type)](values[item.name]):
                raise LauncherFault(f"the template's reply has no valid {item.name}")
            if item.type == "str":
                values[item.name] = plain(values[item.name])
    return Ended(**values)
