"""Runs a command of an agent and watches it from outside: its time, CPU, memory, disk and output; ends it at a limit.

It runs in a sandbox (`agents/sandbox`) or as a plain process group (`agents/plain`).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, get_args

from inner_loop import worktree as trees
from inner_loop.agents.proxy import AgentProxy, ProxyRequest
from trainer.commands.output import CommandOutput

Network = Literal["none", "proxy", "full"]
NETWORKS: tuple[Network, ...] = get_args(Network)

_POLL_SECONDS = 0.2
_FEED_SECONDS = 10.0
_DISK_SHARE = 0.05  # most of the watch's time that is spent on measuring the worktree
_FREE_MB = 512.0  # free on the worktree's file system; only this shows open files without a name


@dataclass(frozen=True)
class AgentLimits:
    """Hard limits. ``memory_mb``: all processes together, exact with a memory cgroup, else polled 5 times a second.
    ``processes``: including their threads. ``file_mb``: per file, ``disk_mb``: the worktree. ``tmp_mb``: /tmp, and
    the home. ``output_mb``: stdout and stderr each."""

    memory_mb: int = 4096
    processes: int = 512
    wall_seconds: float = 3600.0
    file_mb: int = 256
    disk_mb: int = 2048
    tmp_mb: int = 512
    output_mb: int = 64
    open_files: int = 4096


class RunningAgent(threading.Thread):
    """An agent, watched from its start to `finish`. ``killed``: "wall", "memory", "disk", "output" or "budget" names
    the limit that was exceeded; "asked" or "closed" if we ended it; else it is empty.

    ``cpu_line``: CPU-seconds at which it is killed; may be changed while it runs. ``counted_by``: "looks" at the
    processes, or "cgroup".

    At its end, ``exit_code`` is 128 + n for signal n (137 if we killed it), ``cpu_seconds`` are those of all its
    processes, ``stdout`` and ``stderr`` the last 40 kB of each, ``requests`` those to the proxy.
    """

    proxy: AgentProxy | None = None
    exit_code = 0
    stdout = stderr = b""

    def __init__(self, process: subprocess.Popen[bytes], access: AgentRunner, worktree: Path) -> None:
        super().__init__(name="agent-watch", daemon=True)
        self.killed = ""
        self.counted_by, self.pause = "looks", _POLL_SECONDS
        self.peak_memory_mb = self.wall_seconds = self.cpu_seconds = 0.0
        self.cpu_line = float("inf")
        self.outputs = [CommandOutput(pipe) for pipe in (process.stdout, process.stderr) if pipe]
        self.process, self.limits, self.worktree = process, access.limits, worktree
        self._began = time.monotonic()
        self._ending = threading.Event()
        self._disk_next = 0.0
        self._free_at_start = _free_mb(worktree)

    @property
    def requests(self) -> tuple[ProxyRequest, ...]:
        return tuple(self.proxy.requests) if self.proxy else ()

    @property
    @abstractmethod
    def used(self) -> float:
        """CPU-seconds of all its processes so far."""

    @abstractmethod
    def kill_processes(self) -> None:
        """Kill all its processes."""

    @abstractmethod
    def memory_crossed(self) -> bool:
        """Whether they hold more memory than they may; also updates the peak."""

    @abstractmethod
    def release(self) -> None:
        """Called when it has ended: take back what it was given. EnvironmentProblem if one of its processes has not."""

    def run(self) -> None:
        while not self._ending.wait(self.pause):
            crossed = self._crossed()
            if crossed:
                self.kill(crossed)
                return

    def kill(self, reason: str = "asked") -> None:
        """End it with all its processes; the first reason stays."""
        if self.process.poll() is None:
            self.killed = self.killed or reason
        self.kill_processes()

    def finish(self) -> None:
        """End its remaining processes, stop watching, and take back what it was given."""
        self._ending.set()
        self.kill("closed")
        code = self.process.wait()
        self.exit_code = code if code >= 0 else 128 - code
        self.join()
        self.wall_seconds = time.monotonic() - self._began
        self.release()
        self.cpu_seconds = self.used

    def _crossed(self) -> str:
        limits = self.limits
        crossed = {
            "wall": lambda: time.monotonic() - self._began > limits.wall_seconds,
            "budget": lambda: self.used > self.cpu_line,
            "output": lambda: any(output.written > limits.output_mb << 20 for output in self.outputs),
            "memory": self.memory_crossed,
            "disk": self._disk_crossed,
        }
        return next((name for name, is_so in crossed.items() if is_so()), "")

    def _disk_crossed(self) -> bool:
        started = time.monotonic()
        if started < self._disk_next:
            return False
        try:
            crossed = trees.size_mb(self.worktree) > self.limits.disk_mb
        except trees.TooMuch:
            crossed = True
        ended = time.monotonic()
        self._disk_next = ended + (ended - started) / _DISK_SHARE
        return crossed or _free_mb(self.worktree) < min(_FREE_MB, self._free_at_start / 2)


@dataclass(frozen=True)
class AgentRunner:
    """Runs commands of an agent. What they may see, use and reach: ``worktree`` is the only path of this machine that
    they may write.

    ``readable``: further paths, read-only at their own path (the agent's installation). ``environment``: variables
    beside PATH, HOME, TERM and LANG. ``home``: name in its home → our file, copied, or folder, read-only (credentials).
    ``experiment_socket``: a Unix socket, named by $METALOOP_DOOR inside. ``tools``: scripts, first on PATH. ``hidden``:
    paths that stay hidden even inside a shown folder; Metaloop's code and cache always are. ``allow_hosts``: for
    "proxy", as `proxy.Rule`. ``gateway``: a Unix socket, inside on a port of localhost; not with "full", where that
    would be a port of the machine.
    """

    worktree: Path
    network: Network = "none"
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Mapping[str, Path] = field(default_factory=dict)
    experiment_socket: Path | None = None
    tools: Mapping[str, bytes] = field(default_factory=dict)
    hidden: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    gateway: Path | None = None
    limits: AgentLimits = field(default_factory=AgentLimits)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        attend: Callable[[], bool] | None = None,
        begun: Callable[[RunningAgent], None] = lambda _: None,
    ) -> RunningAgent:
        """Run a command to its end.

        ``attend`` is called repeatedly in this thread while it runs, and ends it by returning False; ``begun`` is
        called once before. EnvironmentProblem if no sandbox can be made, UsageError for a path that cannot be shown.
        """
        agent = self.start(command)
        feeder = threading.Thread(target=_feed, args=(agent.process.stdin, stdin), daemon=True)
        feeder.start()
        try:
            begun(agent)
            while attend is not None and agent.process.poll() is None:
                if not attend():
                    agent.kill()
                    break
            agent.process.wait()
        finally:
            agent.finish()
        feeder.join(_FEED_SECONDS)
        agent.stdout, agent.stderr = (output.tail() for output in agent.outputs)
        return agent

    @abstractmethod
    def start(self, command: Sequence[str]) -> RunningAgent:
        """Start a command. It has to be finished."""


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError), pipe:  # an agent need not read it
        pipe.write(data)


def _free_mb(folder: Path) -> float:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / (1 << 20)
