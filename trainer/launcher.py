"""Launcher: runs one experiment's processes and says how they ended. LocalLauncher forks a warm template."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from programs.errors import EnvironmentProblem

_PACKAGES = str(Path(__file__).resolve().parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[4]); from trainer.inside import template; del sys.path[0]; "
_START += "template.main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
_START_SECONDS = 120.0  # import of torch on a busy machine, from a cold disk
_GRACE_SECONDS = 30.0  # beyond the wall cap, until the template itself is given up
_CALIBRATION_FORKS = 7
_STALE_SECONDS = 3600.0  # a living launcher touches its folder with every experiment


class LauncherFault(Exception):
    """The launcher itself failed, not the candidate; the experiment may be repeated."""


@dataclass(frozen=True)
class Limits:
    """Hard lines of one process tree."""

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int = 2048
    file_mb: int = 256


@dataclass(frozen=True)
class TrainRequest:
    """Run ``folder/script`` as the main program."""

    folder: Path
    environment: dict[str, str]
    limits: Limits
    script: str = "train.py"


@dataclass(frozen=True)
class PredictRequest:
    """Load ``checkpoint`` with the code of ``folder/script`` and write float32 logits of ``inputs`` to ``output``."""

    folder: Path
    environment: dict[str, str]
    limits: Limits
    inputs: Path
    checkpoint: Path
    output: Path
    chunk: int
    classes: int
    per_position: bool = False
    script: str = "train.py"


@dataclass(frozen=True)
class Ended:
    """How a process tree ended and what it used.

    ``exit_code`` is negative for a signal; ``killed`` names the line it crossed: "cpu", "wall", "processes" or "".
    """

    exit_code: int
    killed: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    error: str
    error_kind: str
    log: str


class Launcher(Protocol):
    """Runs process trees. ``constant`` is what a tree that does nothing costs it, CPU-seconds."""

    constant: float

    def start(self) -> None: ...
    def workspace(self) -> Path: ...
    def train(self, request: TrainRequest) -> Ended: ...
    def predict(self, request: PredictRequest) -> Ended: ...
    def close(self) -> None: ...


def _clean_environment() -> dict[str, str]:
    """What a template needs and nothing more: no keys, no user settings, one thread, the same hashes every time."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _make_root() -> Path:
    """A folder for work folders, in memory where that is possible; leftovers of dead workers are removed."""
    shm = Path("/dev/shm")
    parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
    for old in parent.glob("metaloop-*-*"):
        owner = old.name.split("-")[1]
        # the age, because a worker in another container has another process table
        if owner.isdigit() and not Path("/proc", owner).exists() and _age(old) > _STALE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"metaloop-{os.getpid()}-", dir=parent))


class LocalLauncher:
    """A warm template process on this machine, started at first use and again whenever it died."""

    def __init__(self) -> None:
        self.constant = 0.0
        self.restarts = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._root: Path | None = None

    @property
    def template_pid(self) -> int | None:
        return self._process.pid if self._process else None

    def workspace(self) -> Path:
        """A fresh folder for one experiment; whoever asked for it removes it."""
        if self._root is None:
            self._root = _make_root()
        self._root.mkdir(exist_ok=True)  # a template that was cut off in an experiment removed it
        return Path(tempfile.mkdtemp(dir=self._root))

    def start(self) -> None:
        """Start and calibrate the template unless it runs. Raises EnvironmentProblem where it cannot start."""
        if self._process is not None:
            return
        if sys.platform != "linux":
            raise EnvironmentProblem("experiments need Linux (process groups, pidfd)", hint="use WSL or a container")
        if self._root is None:
            self._root = _make_root()
        self._root.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair()
        log = self._root / "template.log"
        arguments = [str(theirs.fileno()), str(os.getpid()), str(self._root), _PACKAGES]
        with theirs, log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                pass_fds=[theirs.fileno()], env=_clean_environment(), start_new_session=True,
            )  # fmt: skip
        self._socket = ours
        self.restarts += 1
        try:
            self._read(_START_SECONDS)
            if not self.constant:
                self._calibrate()
        except LauncherFault as fault:
            said = log.read_text("utf-8", "replace").strip().splitlines()
            self._stop()
            message = f"the warm template does not start: {said[-1] if said else fault}"
            raise EnvironmentProblem(message, hint="metaloop doctor checks torch and this machine") from None

    def _calibrate(self) -> None:
        limits = Limits(cpu_seconds=10.0, wall_seconds=60.0)
        request = TrainRequest(self._root or Path(), {}, limits)
        self.constant = statistics.median(self._ask("noop", request).cpu_seconds for _ in range(_CALIBRATION_FORKS))

    def train(self, request: TrainRequest) -> Ended:
        self.start()
        return self._ask("train", request)

    def predict(self, request: PredictRequest) -> Ended:
        self.start()
        return self._ask("predict", request)

    def _ask(self, kind: str, request: TrainRequest | PredictRequest) -> Ended:
        """Send one request, wait for its end. LauncherFault (and a stopped template) if no answer comes."""
        limits = request.limits
        message: dict[str, Any] = {"kind": kind, **asdict(request)}
        del message["limits"]
        message |= {"cpu_limit": limits.cpu_seconds, "wall_limit": limits.wall_seconds}
        message |= {"memory_mb": limits.memory_mb, "file_mb": limits.file_mb}
        try:
            assert self._socket is not None
            self._socket.sendall(json.dumps(message, default=str).encode() + b"\n")
            return Ended(**self._read(limits.wall_seconds + _GRACE_SECONDS))
        except (OSError, LauncherFault, TypeError) as error:
            self._stop()
            raise LauncherFault(str(error)) from error

    def _read(self, timeout: float) -> dict[str, Any]:
        assert self._socket is not None
        self._socket.settimeout(timeout)
        data = b""
        while not data.endswith(b"\n"):
            try:
                piece = self._socket.recv(1 << 16)
            except TimeoutError:
                raise LauncherFault(f"the template does not answer for {timeout:.0f} s") from None
            except OSError as error:
                raise LauncherFault(f"the template is gone: {error}") from None
            if not piece:
                raise LauncherFault("the template is gone")
            data += piece
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _stop(self) -> None:
        """Hang up (the template then kills what runs and leaves), and kill it if it does not."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendall(b"bye\n")
            self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._socket = None

    def close(self) -> None:
        """End the template and remove the work folders."""
        self._stop()
        if self._root is not None:
            with suppress(OSError):
                shutil.rmtree(self._root)
            self._root = None
