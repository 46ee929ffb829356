"""One command to run, and how it ended: the same in a sandbox (`process`) and without one (`plain`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.gpu import Gpu

HOME = "/home/work"  # of a command in the sandbox
_COMPILED_MB = 2048


@dataclass(frozen=True)
class CommandJob:
    """One command: its words, the files in its folder (name → bytes, executable or not), the files to fetch.

    ``readable``: paths of this machine, mounted read-only; a path that starts with ``~/`` is in the sandbox's home.
    ``links``: name in its folder → target; absolute targets are mounted read-only. ``bound``: large files of the task,
    name → path, mounted read-only instead of copied. ``hidden``: folders that stay hidden in shown ones. ``kept``:
    files to check for changes by the command.
    ``compiled``: descriptors of a compile cache (`CompileCache.given`); the command gets a private copy. None: it has
    no such folder.
    """

    command: Sequence[str]
    files: Mapping[str, tuple[bytes, bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    readable: Sequence[str] = ()
    wanted: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    bound: Mapping[str, Path] = field(default_factory=dict)
    hidden: Sequence[Path] = ()
    kept: Sequence[str] = ()
    gpu: Gpu | None = None  # that it may use, alone
    compiled: Mapping[str, int] | None = None

    @property
    def compiled_mb(self) -> int:
        """The size of its folder of compiled kernels at most."""
        return 0 if self.compiled is None else _COMPILED_MB


@dataclass(frozen=True)
class CommandEnded:
    """The result of a command. ``exit_code``: negative for a signal; ``killed``: "cpu", "wall", "memory", "output", "".

    ``log`` is the end of stdout and stderr in the order written. ``files``: the fetched files of ``wanted``;
    ``missing``: the others, with the reason; ``written``: read-only files that the command changed. ``cpu_seconds``
    covers all its processes; of several measurements the largest counts.
    """

    exit_code: int
    killed: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    log: str
    files: dict[str, bytes]
    missing: tuple[str, ...]
    written: tuple[str, ...] = ()
