"""Runs a command of an agent and watches it from outside: its time, CPU, memory, disk and output; ends it at a limit.

It runs in a sandbox (`agents/sandbox`) or as a plain process group (`agents/plain`).
"""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from inner_loop import worktree as trees
from programs.common.errors import EnvironmentProblem
from programs.common.files import TooMuch
from trainer.sandbox.launcher import LauncherFault
from trainer.sandbox.process_tree import CommandLimits, ProcessTree

Network = Literal["none", "full"]

_COUNTED_SECONDS, _LOOK_SECONDS = 0.2, 0.05  # between two looks: with a cgroup, and without, to see short processes
_FEED_SECONDS = 10.0
_DISK_SHARE = 0.05  # most of the watch's time that is spent on measuring the worktree
_FREE_MB = 512.0  # free on the worktree's file system; only this shows open files without a name


@dataclass(frozen=True)
class AgentLimits(CommandLimits):
    """Those of an agent. ``disk_mb``: the worktree."""

    memory_mb: int = 4096
    disk_mb: int = 2048
    output_mb: int = 64
    tmp_mb: int = 512
    file_mb: int = 256


class RunningAgent(threading.Thread):
    """An agent, watched from its start to `finish`. ``killed``: "wall", "memory", "disk", "output" or "budget" names
    the limit that was exceeded; "asked" or "closed" if we ended it; else it is empty. ``undone`` is closed at its end.

    At its end, ``exit_code`` is 128 + n for signal n (137 if we killed it), ``cpu_seconds`` are those of all its
    processes, ``stdout`` and ``stderr`` the last 40 kB of each.
    """

    exit_code = 0
    stdout = stderr = b""
    wall_seconds = cpu_seconds = 0.0

    def __init__(self, tree: ProcessTree, worktree: Path, undone: ExitStack) -> None:
        super().__init__(name="agent-watch", daemon=True)
        self.tree, self._worktree, self._undone = tree, worktree, undone
        self._ending = threading.Event()
        self._disk_next = 0.0
        self._free_at_start = _free_mb(worktree)
        self.start()

    @property
    def killed(self) -> str:
        return "budget" if self.tree.killed == "cpu" else self.tree.killed

    def run(self) -> None:
        pause = _COUNTED_SECONDS if self.tree.group else _LOOK_SECONDS
        while not self._ending.wait(pause):
            if crossed := self.tree.crossed() or ("disk" if self._disk_crossed() else ""):
                self.tree.kill(crossed)
                return

    def kill(self, reason: str = "asked") -> None:
        """End it with all its processes; the first reason stays."""
        self.tree.kill(reason)

    def finish(self) -> None:
        """End its remaining processes, stop watching, and take back what it was given. EnvironmentProblem if one of
        its processes does not end; then nothing is taken back, because the worktree is still written."""
        self._ending.set()
        try:
            self.tree.end("closed")
        except LauncherFault as fault:
            raise EnvironmentProblem(f"{self._worktree}: {fault}", hint="find them with ps") from None
        self.join()
        code = self.tree.process.returncode
        self.exit_code = code if code >= 0 else 128 - code
        self.wall_seconds, self.cpu_seconds = self.tree.wall, self.tree.look()
        self._undone.close()

    def _disk_crossed(self) -> bool:
        started = time.monotonic()
        if started < self._disk_next:
            return False
        try:
            crossed = trees.size_mb(self._worktree) > self.tree.limits.disk_mb
        except TooMuch:
            crossed = True
        ended = time.monotonic()
        self._disk_next = ended + (ended - started) / _DISK_SHARE
        return crossed or _free_mb(self._worktree) < min(_FREE_MB, self._free_at_start / 2)


@dataclass(frozen=True)
class AgentRunner:
    """Runs commands of an agent. What they may see, use and reach: ``worktree`` is the only path of this machine that
    they may write.

    ``readable``: further paths, read-only at their own path (the agent's installation). ``environment``: variables
    beside PATH, HOME, TERM and LANG. ``home``: name in its home → our file, copied, or folder, read-only (credentials).
    ``experiment_socket``: a Unix socket, named by $METALOOP_DOOR inside. ``tools``: scripts, first on PATH. ``hidden``:
    paths that stay hidden even inside a shown folder; Metaloop's code and cache always are. ``gateway``: a Unix
    socket, inside on a port of localhost; not with "full", where that would be a port of the machine.
    """

    worktree: Path
    network: Network = "none"
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Mapping[str, Path] = field(default_factory=dict)
    experiment_socket: Path | None = None
    tools: Mapping[str, bytes] = field(default_factory=dict)
    hidden: tuple[Path, ...] = ()
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
        process = agent.tree.process
        feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
        feeder.start()
        try:
            begun(agent)
            while attend is not None and process.poll() is None:
                if not attend():
                    agent.kill()
                    break
            process.wait()
        finally:
            agent.finish()
        feeder.join(_FEED_SECONDS)
        agent.stdout, agent.stderr = (output.tail() for output in agent.tree.outputs)
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
