"""Finds the GPUs of this machine that metaloop may use, without importing torch or initialising CUDA.

Device nodes must exist, ``nvidia-smi`` must answer, and torch must be built for CUDA unless the task runs a command.
METALOOP_DEVICES restricts the choice: ``cpu`` allows none, ``0,2`` those two, anything else all; CUDA_VISIBLE_DEVICES
restricts it further. Written from the manuals; docs/gpu.md lists what has not been tested on a GPU.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from programs.errors import EnvironmentProblem
from trainer import gpu

_SEATS = 64  # largest number of launchers per GPU

Device = Literal["cpu", "gpu"]
VARIABLE = "METALOOP_DEVICES"
DEV = Path("/dev")
TOOL = "nvidia-smi"
_FIELDS = "index,uuid,name,memory.total,driver_version"
_ROW = re.compile(r"(\d{1,3}), ([\w-]{1,80}), ([^,]{1,100}), (\d{1,9}|\[N/A\]), ([\w.]{1,40})")
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class Gpu:
    """One GPU. ``index``: for nvidia-smi; ``uuid``: for CUDA_VISIBLE_DEVICES; ``memory_mb``: in MiB, 0 if unknown."""

    index: int
    uuid: str
    name: str
    memory_mb: int
    driver: str

    @property
    def hardware(self) -> str:
        """Its part of the hardware class: model, memory and software versions."""
        versions = f"torch {torch_version()} CUDA {torch_cuda() or 'none'}/driver {self.driver}"
        return f"gpu:{self.name}/{round(self.memory_mb / 1024)} GB/{versions}"


@dataclass(frozen=True)
class Survey:
    """The usable ``gpus``, or the ``reason`` why there are none, with its ``cure``."""

    gpus: tuple[Gpu, ...]
    reason: str = ""
    cure: str = ""


def survey(dev: Path | None = None, tool: str | Path | None = None, torch: bool = True) -> Survey:
    """Search this machine for GPUs. Without device nodes nothing else is queried. Never raises.

    ``torch``: whether Metaloop's own torch has to use them; a command brings its own libraries.
    """
    allowed = os.environ.get(VARIABLE, "").strip().lower()
    if allowed == "cpu":
        return Survey((), f"{VARIABLE}=cpu turns them off", f"unset {VARIABLE}")
    nodes = gpu.device_nodes(dev or DEV)
    if not any(re.fullmatch(r"nvidia\d+", node.name) for node in nodes):
        return Survey((), "no NVIDIA device node", "")
    if torch and not torch_cuda():
        cure = "pip install torch from https://download.pytorch.org/whl/cu130, not the CPU build"
        return Survey((), "the machine has GPUs, but torch is built without CUDA", cure)
    try:
        gpus = _ask(tool or TOOL)
    except EnvironmentProblem as problem:
        return Survey((), problem.message, problem.hint or "")
    chosen = _chosen(gpus, allowed)
    if not chosen:
        return Survey((), f"{len(gpus)} GPUs, none allowed", f"see {VARIABLE} and CUDA_VISIBLE_DEVICES")
    return Survey(tuple(chosen))


def usable(torch: bool = True) -> tuple[Gpu, ...]:
    """The GPUs that experiments may use, by number. Cached for each setting of the environment."""
    return _usable(DEV, TOOL, torch, os.environ.get(VARIABLE, ""), os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _usable(dev: Path, tool: str, torch: bool, *_: str | None) -> tuple[Gpu, ...]:
    return survey(dev, tool, torch).gpus


def device_for(wanted: Device, torch: bool = True, toy: bool = True) -> Device:
    """The device on this machine for a task that wants ``wanted``. Without a ``toy`` budget it stays a GPU, and nothing
    runs where there is none."""
    return "gpu" if wanted == "gpu" and (not toy or usable(torch)) else "cpu"


def _ask(tool: str | Path) -> list[Gpu]:
    gpus = []
    for line in gpu.ask(tool, f"--query-gpu={_FIELDS}", None):
        match = _ROW.fullmatch(line.strip())
        if match is None:
            raise gpu.odd(tool, line)
        memory = int(match[4]) if match[4].isdigit() else 0
        gpus.append(Gpu(int(match[1]), match[2], " ".join(match[3].split()), memory, match[5]))
    return sorted(gpus, key=lambda one: one.index)


def _chosen(gpus: list[Gpu], allowed: str) -> list[Gpu]:
    if re.fullmatch(r"\d+(,\d+)*", allowed):
        numbers = {int(text) for text in allowed.split(",")}
        gpus = [one for one in gpus if one.index in numbers]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [text.strip() for text in visible.split(",") if text.strip()]
    return [one for one in gpus if any(name == str(one.index) or one.uuid.startswith(name) for name in names)]


def torch_version() -> str:
    return re.sub(r"\+.*", "", _torch_says(r"^__version__\b[^=\n]*=\s*['\"]([\w.+]+)['\"]") or "none")


def torch_cuda() -> str:
    """The CUDA version that torch is built for, e.g. ``13.0``; empty for a build without it, or no torch."""
    return _torch_says(_CUDA.pattern)


def _torch_says(pattern: str) -> str:
    """A value of torch's ``version.py``, read as text because importing torch takes seconds."""
    spec = PathFinder.find_spec("torch")
    if spec is None or not spec.origin:
        return ""
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8", "replace")
    except OSError:
        return ""
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


class GpuSeat:
    """Assigns a launcher to the GPU with the fewest launchers of this user. The right to use the GPU is the lease.

    It is a lock on a file, so nothing is left if the holder is killed.
    """

    def __init__(self, gpus: tuple[Gpu, ...], folder: Path | None = None) -> None:
        if not gpus:
            reason = survey(torch=False).reason or "metaloop doctor shows the reason"
            raise EnvironmentProblem("this task needs a GPU, and there is none to use here", hint=reason)
        folder = folder or gpu.runtime_folder()
        self._file = -1
        for number in range(_SEATS):
            for one in gpus:
                if self._take(folder, f"seat-{one.index}-{number}.lock"):
                    self.gpu = one
                    return
        raise EnvironmentProblem(f"every GPU already has {_SEATS} launchers", hint="wait until some of them end")

    def _take(self, folder: Path, name: str) -> bool:
        self._file = gpu.open_lock(folder, name)
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        self.close()
        return False

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
