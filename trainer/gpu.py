"""GPU support: device nodes, the lease of one GPU, and checks for processes and memory that an experiment left.

Written from manuals and public reports; not tested on a GPU (docs/gpu.md describes how to test it). CUDA does not
survive a fork, so the code that starts the template must follow two rules:

- Set ``PYTORCH_NVML_BASED_CUDA_CHECK=1`` in its environment: torch then detects GPUs through NVML instead of CUDA.
- Neither the template nor its parents may initialise CUDA (no tensor on "cuda", no ``torch.cuda.*`` call that needs a
  device). Each experiment does that itself, after its fork, and pays for it.

The profile with a GPU is weaker than the one without: the candidate may call the driver by ioctl, and memory can only
be limited by a cgroup, because CUDA maps far more addresses than it uses (no RLIMIT_AS).
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from programs.errors import Busy, EnvironmentProblem

_SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
_GPU = re.compile(r"nvidia[0-9]+")
_ROW = re.compile(r"\s*([0-9]{1,10})\s*,\s*([0-9]{1,9}|\[?[A-Za-z][A-Za-z/ ]*\]?)\s*,\s*(\S.*?)\s*")
_UNKNOWN = frozenset({"n/a", "not supported", "not available", "unknown error"})
_TOOL_SECONDS = 20.0  # nvidia-smi first loads the driver if no process uses it
_FREED_SECONDS = 3.0  # the driver frees a dead process's memory with a short delay
_SLACK_MB = 16  # possible change of the driver's own use between two queries


def device_nodes(root: Path = Path("/dev")) -> list[Path]:
    """The nodes below ``root`` that CUDA opens: each GPU, the control and memory nodes, and MIG's capabilities."""
    gpus = [path for path in root.glob("nvidia*") if _GPU.fullmatch(path.name)]
    shared = [root / name for name in _SHARED]
    nodes = [*sorted(gpus, key=lambda path: int(path.name[6:])), *shared, *sorted(root.glob("nvidia-caps/*"))]
    return [path for path in nodes if path.exists() and not path.is_symlink() and not path.is_dir()]


def bwrap_arguments(nodes: Sequence[Path], index: int, below: str = "") -> list[str]:
    """Arguments of bwrap that add one GPU, ``below`` a folder; they must follow ``--dev``, which would cover them.

    ``--bind`` does not work (it forbids devices), and without /sys the driver does not start (cuInit: 304). A container
    with one of several GPUs has a single node, whose number may be any.
    """
    gpus = [path for path in nodes if _GPU.fullmatch(path.name)]
    chosen = [path for path in gpus if path.name == f"nvidia{index}"] or gpus
    if len(chosen) != 1:
        there = ", ".join(path.name for path in gpus) or "none"
        raise EnvironmentProblem(f"GPU {index} has no device node (existing: {there})", hint="see nvidia-smi -L")
    kept = chosen + [path for path in nodes if path not in gpus]
    binds = [argument for path in kept for argument in ("--dev-bind", str(path), f"{below}{path}")]
    return [*binds, "--ro-bind", "/sys", f"{below}/sys"]


def runtime_folder() -> Path:
    """The folder of leases, /tmp/metaloop-UID. `Lease` creates and checks it.

    It is not below /run/user/UID, which logind removes when the user logs out, although studies may go on.
    """
    return Path("/tmp", f"metaloop-{os.geteuid()}")


def _open_folder(folder: Path) -> int:
    """Descriptor of a folder that only this user can change. Another user could have created it or a link in /tmp."""
    hint = "remove it, or ask its owner to"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        what = "is a link or not a folder" if os.path.lexists(folder) else f"cannot be made: {error.strerror}"
        raise EnvironmentProblem(f"{folder}: {what}", hint=hint) from None
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        raise EnvironmentProblem(f"{folder}: users other than {os.geteuid()} may change it", hint=hint)
    return descriptor


def open_lock(folder: Path, name: str) -> int:
    """Descriptor of a lock file in a folder that only this user can change; both are created if missing."""
    directory = _open_folder(folder)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(name, flags, 0o600, dir_fd=directory)
    except OSError as error:
        raise EnvironmentProblem(f"{folder / name}: {error.strerror}", hint="remove that file") from None
    finally:
        os.close(directory)


class Lease:
    """The right to use one GPU until `release` or the end of the process, exclusively or with ``sharing`` holders.

    It is a lock on a file, so nothing is left if the holder is killed. It applies only to this user's metaloop
    processes; `clean_before` reports others.
    """

    def __init__(self, index: int, folder: Path | None = None, sharing: int = 1) -> None:
        """Take the lease immediately. Raises Busy, with the holder's pid, if another process has it."""
        self.index = index
        self._files: list[int] = []
        self._holder = ""  # pid of the process with the lock
        folder = folder or runtime_folder()
        names = [f"gpu-{index}.{number}.lock" for number in range(sharing)] if sharing > 1 else []
        # an exclusive holder waits for all shared ones
        taken = self._take(folder, f"gpu-{index}.lock", fcntl.LOCK_SH if names else fcntl.LOCK_EX)
        if not taken or (names and not any(self._take(folder, name, fcntl.LOCK_EX) for name in names)):
            self.release()
            who = f"process {self._holder}" if self._holder.isdigit() else "another process"
            raise Busy(f"GPU {index} is in use by {who}", hint="wait until it ends, or use another GPU")

    def _take(self, folder: Path, name: str, how: int) -> bool:
        file = open_lock(folder, name)
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            self._holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
            os.close(file)
            return False
        self._files.append(file)
        if how == fcntl.LOCK_EX:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return True

    def release(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class Leftover:
    """A process with memory on a GPU, in MiB; None if the driver does not report it (a container, MIG)."""

    pid: int
    memory_mb: int | None
    name: str


@dataclass(frozen=True)
class GpuUsage:
    """Memory (MiB) and processes on a GPU at one moment."""

    memory_mb: int | None
    processes: tuple[Leftover, ...]


def ask(tool: str | Path, query: str, index: int | None) -> list[str]:
    """The output lines of a query to nvidia-smi, for one GPU or all. EnvironmentProblem if it fails."""
    of = [] if index is None else ["-i", str(index)]
    command = [str(tool), query, "--format=csv,noheader,nounits", *of]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TOOL_SECONDS, check=False
        )
    except OSError as error:
        hint = "install the NVIDIA driver's tools, or train on the CPU"
        raise EnvironmentProblem(f"{tool}: {error.strerror}", hint=hint) from None
    except subprocess.TimeoutExpired:
        hint = "the driver may hang and need a restart"
        raise EnvironmentProblem(f"{tool}: no answer for {_TOOL_SECONDS:.0f} s", hint=hint) from None
    lines = [line for line in done.stdout.decode("utf-8", "replace").split("\n") if line.strip()]
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").split("\n") + lines
        why = next((_printable(line) for line in said if line.strip()), "no reason given")
        raise EnvironmentProblem(f"{tool}: exit status {done.returncode}: {why}", hint=f"{tool} -L lists the GPUs")
    return lines


def _printable(text: str) -> str:
    """One short line without control characters: a process can choose its name."""
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:200]


def odd(tool: str | Path, line: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"{tool}: cannot read its line {_printable(line)!r}", hint="is its version supported?")


def _megabytes(text: str) -> int | None:
    """A number, or None for one of the driver's words for an unknown value. ValueError for anything else."""
    if text.strip().strip("[]").lower() in _UNKNOWN:
        return None
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise ValueError(text)
    return int(text)


def leftovers(index: int, tool: str | Path = "nvidia-smi") -> list[Leftover]:
    """The processes on a GPU now. EnvironmentProblem for an answer that cannot be parsed."""
    processes = []
    for line in ask(tool, "--query-compute-apps=pid,used_memory,process_name", index):
        match = _ROW.fullmatch(line)
        if match is None:
            raise odd(tool, line)
        try:
            processes.append(Leftover(int(match[1]), _megabytes(match[2]), _printable(match[3])))
        except ValueError:
            raise odd(tool, line) from None
    return processes


def used_memory_mb(index: int, tool: str | Path = "nvidia-smi") -> int | None:
    """Memory of a GPU in use by all processes, MiB; None if the driver does not report it."""
    lines = ask(tool, "--query-gpu=memory.used", index)
    if len(lines) != 1:
        raise odd(tool, lines[1] if lines else "")
    try:
        return _megabytes(lines[0])
    except ValueError:
        raise odd(tool, lines[0]) from None


@dataclass(frozen=True)
class Load:
    """A GPU's memory in use (MiB) and utilization (percent) at one moment."""

    memory_mb: int | None
    busy: int | None


def load(index: int, tool: str | Path = "nvidia-smi") -> Load:
    """The load of a GPU; None for values that the driver does not report. EnvironmentProblem for a bad answer."""
    lines = ask(tool, "--query-gpu=memory.used,utilization.gpu", index)
    words = lines[0].split(",") if len(lines) == 1 else []
    try:
        if len(words) != 2:
            raise ValueError(words)
        return Load(_megabytes(words[0]), _megabytes(words[1]))
    except ValueError:
        raise odd(tool, lines[0] if lines else "") from None


def usage(index: int, tool: str | Path = "nvidia-smi") -> GpuUsage:
    return GpuUsage(used_memory_mb(index, tool), tuple(leftovers(index, tool)))


def clean_before(index: int, tool: str | Path = "nvidia-smi") -> tuple[GpuUsage, tuple[str, ...]]:
    """The use of the GPU before an experiment (the baseline for `clean_after`), and a finding for each process."""
    now = usage(index, tool)
    return now, tuple(f"gpu: {_amount(p)} in use before the experiment (pid {p.pid})" for p in now.processes)


def clean_after(
    index: int, baseline: GpuUsage, tool: str | Path = "nvidia-smi", patience: float = _FREED_SECONDS
) -> tuple[str, ...]:
    """A finding for each process, and for unattributed memory, that the experiment left on the GPU.

    Repeats the query for ``patience`` seconds, because the driver frees a dead process's memory with a delay.
    """
    deadline = time.monotonic() + patience
    while (findings := _stayed(usage(index, tool), baseline)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return findings


def _stayed(now: GpuUsage, baseline: GpuUsage) -> tuple[str, ...]:
    known = {process.pid for process in baseline.processes}
    new = [process for process in now.processes if process.pid not in known]
    findings = [f"gpu: {_amount(p)} still in use after the experiment (pid {p.pid})" for p in new]
    before, after = _unnamed_mb(baseline), _unnamed_mb(now)
    # unattributed memory may belong to a new process whose amount is not reported
    all_known = all(process.memory_mb is not None for process in new)
    if all_known and before is not None and after is not None and after - before > _SLACK_MB:
        findings.append(f"gpu: {after - before} MB still in use after the experiment (no process is reported)")
    return tuple(findings)


def _unnamed_mb(usage: GpuUsage) -> int | None:
    """Memory in use that belongs to no reported process: the driver's, other containers', or hidden processes'."""
    if usage.memory_mb is None:
        return None
    return usage.memory_mb - sum(process.memory_mb or 0 for process in usage.processes)


def _amount(process: Leftover) -> str:
    return "an unknown amount of memory" if process.memory_mb is None else f"{process.memory_mb} MB"
