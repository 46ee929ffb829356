"""One job and its end: a task's command, a scoring command, a data.py, an agent, a fork of the warm template.

`run_job` runs it in a sandbox (`trainer.jobs.sandboxed`) or as a process group of the user (`trainer.jobs.plain`), and
`trainer.sandbox.local.LocalLauncher` runs a `ForkedJob` as a fork of a template. What a job does, good or bad, is an
`Ended`. A failure of our own machinery is an exception: LauncherFault, or EnvironmentProblem if the user can cure it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from programs.common.text import terminal_text
from trainer.gpu import Gpu

if TYPE_CHECKING:
    from pydantic import JsonValue

#: Why we killed a job: the limit that it exceeded, "asked" if ``attend`` ended it, or "" if it ended by itself.
Killed = Literal["", "cpu", "wall", "output", "memory", "disk", "processes", "asked"]
#: The limits that are watched from outside. Of several exceeded ones the first counts.
WATCHED: tuple[Killed, ...] = ("cpu", "wall", "output", "memory", "disk")
#: The folder of the compilers' caches beside the work folder in a sandbox, and its size at most.
COMPILED, COMPILED_MB = "../compiled", 2048


class LauncherFault(Exception):
    """The launcher failed, not the candidate; the experiment may be repeated."""


class ProcessesLeft(LauncherFault):
    """Processes of a sandbox do not end."""


@dataclass(frozen=True)
class Limits:
    """Hard limits of a job. MB are 2**20 bytes.

    ``memory_mb``: all processes together, exact with a memory cgroup, else at each look. ``processes``: including
    threads. ``disk_mb``: its work folder; ``tmp_mb``: /tmp and home each, ``file_mb``: per file, as much as ``disk_mb``
    unless they are given. ``output_mb``: each pipe. ``result_mb``: all fetched files together.
    """

    cpu_seconds: float = float("inf")
    wall_seconds: float = 3600.0
    memory_mb: int = 2048
    disk_mb: int = 1024
    processes: int = 512
    output_mb: int = 16
    result_mb: int = 64
    tmp_mb: int = 0
    file_mb: int = 0
    open_files: int = 4096

    @property
    def largest_file_mb(self) -> int:
        return self.file_mb or self.disk_mb

    def inside(self) -> dict[str, int]:
        """The limits that the kernel enforces per process, as names of resource.RLIMIT_*."""
        size = self.largest_file_mb << 20
        limits = {"NPROC": self.processes, "FSIZE": size, "NOFILE": self.open_files, "CORE": 0}
        return limits | ({"CPU": int(self.cpu_seconds) + 2} if self.cpu_seconds < float("inf") else {})


@dataclass(frozen=True)
class Job:
    """One command: its words, its files, what it may see and use, and what is fetched at its end.

    Its folder: ``folder`` is one of this machine that it works in and may write; by default it gets an empty one that
    is deleted at its end. ``files``: name → content, ``executable``: the names of programs among them. ``links``:
    name → target. ``bound``: name → a path of this machine, read-only instead of copied; in a sandbox an absolute name
    is a path there. ``wanted``: files and folders to fetch. ``kept``: files to check for changes by the job.

    The sandbox shows ``readable`` (path inside → a path of this machine, read-only), but never ``hidden``. ``copies``:
    path inside → content, which the job may change. ``network``: that of this machine; ``relays``: a port of localhost
    for a Unix socket inside. Without a sandbox these have no effect.

    ``tools``: folders, and ``scripts``: programs (name → content), that come first on its PATH. ``user``: its name in
    the sandbox, with a home in /home. ``stdin``: its input. ``errors_apart``: stderr is not mixed with stdout.
    ``compiles``: the compilers' caches are in the folder `COMPILED`, for which it gets memory of its own.
    """

    command: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    executable: Collection[str] = ()
    folder: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    bound: Mapping[str, Path] = field(default_factory=dict)
    wanted: Sequence[str] = ()
    kept: Sequence[str] = ()
    readable: Mapping[str, Path] = field(default_factory=dict)
    hidden: Sequence[Path] = ()
    copies: Mapping[str, bytes] = field(default_factory=dict)
    network: bool = False
    relays: Mapping[str, int] = field(default_factory=dict)
    tools: Sequence[str] = ()
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    user: str = "work"
    stdin: bytes = b""
    errors_apart: bool = False
    inherits: bool = True  # without a sandbox: the user's variables beside ``environment``
    gpu: Gpu | None = None  # that it may use, alone
    compiles: bool = False

    def laid(self) -> list[tuple[str, bytes, int]]:
        """Its files: name, content, mode."""
        return [(name, data, 0o755 if name in self.executable else 0o644) for name, data in self.files.items()]


@dataclass(frozen=True)
class ForkedJob(Job):
    """A fork of the warm template. Its only word is "noop", "selftest", "train" (run train.py), "predict" or "converse"
    (import it).

    ``descriptors`` by name: ``checkpoint`` is copied into the folder, ``checkpoint_out`` receives the checkpoint of
    train.py, up to ``checkpoint_mb``; ``inputs``, ``output``, ``receive``, ``reply`` and ``shared`` are passed to the
    process itself. ``data``: the training split that it sees.
    """

    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    descriptors: Mapping[str, int] = field(default_factory=dict)
    data: Path | None = None
    checkpoint_mb: int = 64


@dataclass(frozen=True)
class Ended:
    """How a job ended and what it used.

    ``exit_code`` is negative for a signal. ``cpu_seconds`` covers all its processes; of several measurements the
    largest counts. ``log`` is the end of its output, with stderr in the order written unless that is in ``errors``.
    ``files``: the fetched files of ``wanted``; ``missing``: the others, with the reason; ``written``: files of ``kept``
    that the job changed. ``counted_by``: "cgroup", or "looks" at the processes.

    Of a fork: ``error`` and ``error_kind`` of its exception; ``artifact``: why there is no checkpoint;
    ``outside_cpu_seconds``: measured by a cgroup around the template, None without one.
    """

    exit_code: int
    killed: Killed
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    error: str = ""
    error_kind: str = ""
    log: str = ""
    artifact: str = ""
    outside_cpu_seconds: float | None = None
    errors: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    counted_by: str = "looks"


class Launcher(Protocol):
    """Runs jobs. ``constant``: CPU-seconds of an empty one; ``sandboxed``: whether they run in a sandbox."""

    constant: float
    sandboxed: bool

    def start(self, data: Path | None = None) -> None: ...
    def run(self, job: Any, attend: Callable[[], bool] | None = None) -> Ended: ...
    def close(self) -> None: ...


def plain(text: str) -> str:
    """A candidate's output made safe to store and show, as `terminal_text`: without escape sequences, characters that
    change the writing direction, NUL and lone surrogates. Line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in terminal_text(text))
