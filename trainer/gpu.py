"""The GPUs of this machine: which there are, one of them alone for each experiment, and what a sandbox shows of one;
and the hardware class, within which alone experiments are comparable and cached outcomes valid.

Only a command trains on a GPU, with libraries of its own, so nothing here imports torch or starts CUDA: the driver is
asked through ``nvidia-smi``. METALOOP_DEVICES restricts the choice: ``cpu`` allows none, ``0,2`` those two, anything
else all; CUDA_VISIBLE_DEVICES restricts it further.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from programs.common.errors import EnvironmentProblem
from trainer.user_files import private_folder, user_cache

Device = Literal["cpu", "gpu"]
VARIABLE = "METALOOP_DEVICES"
DEV = Path("/dev")
PROC = Path("/proc/driver/nvidia/gpus")
TOOL = "nvidia-smi"
_TOOL_SECONDS = 30.0
_POLL_SECONDS = 0.05  # between two attempts to take a GPU in use
_FIELDS = "index,uuid,name,memory.total,driver_version,pci.bus_id"
_ROW = re.compile(
    r"(\d{1,3}), ([\w-]{1,80}), ([^,]{1,100}), (\d{1,9}|\[N/A\]|\[Not Supported\]), ([\w.]{1,40}), ([\w:.]{1,40})"
)
_MINOR = re.compile(r"^Device Minor:\s*(\d+)\s*$", re.MULTILINE)
_NODE = re.compile(r"nvidia\d+")
_SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "dxg")
_DRIVER = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.1\b.*=> (/\S+)$")
_NO_NODE = "no NVIDIA device node"


@dataclass(frozen=True)
class Gpu:
    """One GPU. ``index``: for nvidia-smi; ``uuid``: for CUDA_VISIBLE_DEVICES; ``memory_mb``: in MiB, 0 if unknown;
    ``minor``: the number of its device node, which can differ from the index; None if unknown."""

    index: int
    uuid: str
    name: str
    memory_mb: int
    driver: str
    minor: int | None = None

    @property
    def hardware(self) -> str:
        """Its part of the hardware class: model, memory and driver."""
        return f"gpu:{self.name}/{round(self.memory_mb / 1024)} GB/driver {self.driver}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a command sees this GPU alone."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    @property
    def binds(self) -> list[str]:
        """Arguments of bwrap that add its device nodes, after ``--dev``, which would cover them.

        ``--bind`` does not work (it forbids devices), and without /sys the driver does not start (cuInit: 304). A
        container with one of several GPUs has a single node, whose number may be any.
        """
        nodes = device_nodes()
        gpus = [path for path in nodes if _NODE.fullmatch(path.name)]
        number = self.index if self.minor is None else self.minor
        chosen = [path for path in gpus if path.name == f"nvidia{number}"] or gpus
        if len(chosen) > 1:
            there = ", ".join(path.name for path in gpus)
            raise EnvironmentProblem(f"GPU {self.index} has no device node (existing: {there})", hint="nvidia-smi -L")
        kept = chosen + [path for path in nodes if path not in gpus]
        return [word for path in kept for word in ("--dev-bind", str(path), str(path))] + ["--ro-bind", "/sys", "/sys"]

    @cached_property
    def driver_folders(self) -> tuple[str, ...]:
        """The folders of the driver's libraries, in the loader's search order."""
        folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if _has_driver(folder)]
        with suppress(OSError, subprocess.SubprocessError):
            command = ["/sbin/ldconfig", "-p"]
            output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
            folders += [os.path.dirname(match[1]) for line in output.splitlines() if (match := _DRIVER.search(line))]
        folders += [folder for folder in ("/usr/local/nvidia/lib64", "/usr/lib/wsl/lib") if _has_driver(folder)]
        # links in these folders may point to the folder in which the driver was unpacked
        real = [os.path.dirname(os.path.realpath(os.path.join(folder, "libcuda.so.1"))) for folder in folders]
        return tuple(dict.fromkeys([*folders, *real]))


@dataclass(frozen=True)
class Survey:
    """The usable ``gpus``; the ``reason`` why there are none or why some are left out, with its ``cure``; ``none``: the
    machine has none."""

    gpus: tuple[Gpu, ...]
    reason: str = ""
    cure: str = ""
    none: bool = False


def device_nodes() -> list[Path]:
    """The device nodes that CUDA opens: each GPU, the control and memory nodes, and MIG's capabilities."""
    gpus = [path for path in DEV.glob("nvidia*") if _NODE.fullmatch(path.name)]
    nodes = [*sorted(gpus), *(DEV / name for name in _SHARED), *sorted(DEV.glob("nvidia-caps/*"))]
    return [path for path in nodes if path.exists() and not path.is_symlink() and not path.is_dir()]


def survey() -> Survey:
    """Search this machine for GPUs. Without device nodes nothing else is queried. Never raises."""
    allowed = os.environ.get(VARIABLE, "").strip().lower()
    if allowed == "cpu":
        return Survey((), f"{VARIABLE}=cpu turns them off", f"unset {VARIABLE}")
    if not any(_NODE.fullmatch(node.name) or node.name == "dxg" for node in device_nodes()):
        return Survey((), _NO_NODE, none=True)
    gpus, odd = list[Gpu](), Survey(())
    try:
        for line in _ask(f"--query-gpu={_FIELDS}"):
            try:
                gpus.append(_gpu(line))
            except EnvironmentProblem as problem:  # one that needs a reset does not take away the others
                odd = Survey((), problem.message, problem.hint or "")
    except EnvironmentProblem as problem:
        return Survey((), problem.message, problem.hint or "")
    if not gpus and odd.reason:
        return odd
    chosen = _chosen(sorted(gpus, key=lambda one: one.index), allowed)
    if not chosen:
        return Survey((), f"{len(gpus)} GPUs, none allowed", f"see {VARIABLE} and CUDA_VISIBLE_DEVICES")
    return replace(odd, gpus=tuple(chosen))


def usable() -> tuple[Gpu, ...]:
    """The GPUs that experiments may use, by number. Cached for each setting of the environment."""
    return _usable(DEV, TOOL, os.environ.get(VARIABLE, ""), os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _usable(*_: object) -> tuple[Gpu, ...]:
    return survey().gpus


def needed() -> tuple[Gpu, ...]:
    """The usable GPUs; EnvironmentProblem, with the reason, if there are none."""
    if gpus := usable():
        return gpus
    surveyed = survey()
    raise EnvironmentProblem(
        "this task needs a GPU, and there is none to use here", hint=surveyed.cure or surveyed.reason
    )


@contextmanager
def held(gpus: tuple[Gpu, ...]) -> Iterator[Gpu]:
    """The first of the GPUs that is free, for one experiment alone; waits until one is.

    It is a lock on a file in the user's cache, so nothing is left if the holder is killed. It counts among this user's
    own processes of Metaloop.
    """
    folder = user_cache() / "devices"
    private_folder(folder)
    while True:
        for gpu in gpus:
            with open(folder / f"{gpu.uuid}.lock", "a", encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield gpu
                return
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Load:
    """A GPU's memory in use (MiB) and utilization (percent) at one moment; None if the driver does not report it."""

    memory_mb: int | None
    busy: int | None


def load(one: Gpu) -> Load:
    """The load of a GPU now. EnvironmentProblem for an answer that cannot be read."""
    lines = _ask("--query-gpu=memory.used,utilization.gpu", "-i", one.uuid)
    words = [word.strip() for word in lines[0].split(",")] if len(lines) == 1 else []
    if len(words) != 2 or not all(word.isdigit() or word.startswith("[") for word in words):
        raise _odd(lines[0] if lines else "")
    memory, busy = (int(word) if word.isdigit() else None for word in words)
    return Load(memory, busy)


class Watch(threading.Thread):
    """Asks the driver for a GPU's load, at once and then every second until `stop`: no number of a candidate's is used.

    ``problem``: why it stopped early. The driver's utilization is the share of a short period in which any kernel ran;
    it is no measure of efficiency.
    """

    def __init__(self, one: Gpu, every: float = 1.0) -> None:
        super().__init__(name=f"gpu-{one.index}-watch", daemon=True)
        self._gpu, self._every = one, every
        self.problem = ""
        self.looks: list[Load] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self.looks.append(load(self._gpu))
            except EnvironmentProblem as problem:
                self.problem = problem.message
                return
            self._ended.wait(self._every)

    def stop(self) -> None:
        """Stop after the current query."""
        self._ended.set()
        self.join()

    @property
    def utilization(self) -> float | None:
        """Mean share of the time in which a kernel ran, 0 to 1; None if the driver does not report it."""
        busy = [look.busy for look in self.looks if look.busy is not None]
        return statistics.mean(busy) / 100 if busy else None

    def peak_above(self, before: int | None) -> float | None:
        """Peak memory of the GPU above ``before``, MiB; None if the driver does not report it."""
        memory = [look.memory_mb for look in self.looks if look.memory_mb is not None]
        return max(0.0, float(max(memory) - (before or 0))) if memory else None


def _ask(query: str, *more: str) -> list[str]:
    """The lines of an answer of nvidia-smi. EnvironmentProblem if it fails."""
    command = [TOOL, query, "--format=csv,noheader,nounits", *more]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TOOL_SECONDS, check=False
        )
    except OSError as error:
        hint = "install the NVIDIA driver's tools, or train on the CPU"
        raise EnvironmentProblem(f"{TOOL}: {error.strerror}", hint=hint) from None
    except subprocess.TimeoutExpired:
        hint = "the driver may hang and need a restart"
        raise EnvironmentProblem(f"{TOOL}: no answer for {_TOOL_SECONDS:.0f} s", hint=hint) from None
    lines = [line for line in done.stdout.decode("utf-8", "replace").split("\n") if line.strip()]
    if done.returncode != 0:
        answer_lines = done.stderr.decode("utf-8", "replace").split("\n") + lines
        why = next((_printable(line) for line in answer_lines if line.strip()), "no reason given")
        raise EnvironmentProblem(f"{TOOL}: exit status {done.returncode}: {why}", hint=f"{TOOL} -L lists the GPUs")
    return lines


def _gpu(line: str) -> Gpu:
    match = _ROW.fullmatch(line.strip())
    if match is None:
        raise _odd(line)
    memory = int(match[4]) if match[4].isdigit() else 0
    return Gpu(int(match[1]), match[2], " ".join(match[3].split()), memory, match[5], _minor(match[6]))


def _minor(bus_id: str) -> int | None:
    """The minor number of the GPU at a place of the PCI bus (00000000:3B:00.0), as the driver's module shows it."""
    with suppress(OSError):
        match = _MINOR.search((PROC / bus_id.lower()[-12:] / "information").read_text(encoding="utf-8"))
        return int(match[1]) if match else None
    return None


def _odd(line: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"{TOOL}: cannot read its line {_printable(line)!r}", hint="is its version supported?")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:200]


def _chosen(gpus: list[Gpu], allowed: str) -> list[Gpu]:
    if re.fullmatch(r"\d+(,\d+)*", allowed):
        numbers = {int(text) for text in allowed.split(",")}
        gpus = [gpu for gpu in gpus if gpu.index in numbers]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [text.strip() for text in visible.split(",") if text.strip()]
    return [gpu for gpu in gpus if any(name == str(gpu.index) or gpu.uuid.startswith(name) for name in names)]


def _has_driver(folder: str) -> bool:
    return folder.startswith("/") and os.path.exists(os.path.join(folder, "libcuda.so.1"))


@cache
def hardware_class(device: Device = "cpu") -> str:
    """The hardware of an experiment: ``cpu:AMD EPYC 7B13/1 thread``, or the GPU with its memory and driver.

    With different GPUs in a machine all are named, because an experiment may run on any of them.
    """
    if device == "cpu":
        return f"cpu:{_cpu_model()}/1 thread"
    return " and ".join(sorted({gpu.hardware for gpu in usable()})) or "gpu:none"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model"):
            return " ".join(value.split())
    return platform.machine() or "unknown"
