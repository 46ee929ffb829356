"""Runs a command of an agent and watches it from outside: its time, CPU, memory, disk and output; ends it at a limit.

It runs in a sandbox (`agents/sandbox`) or as a plain process group (`agents/plain`).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from inner_loop import worktree as trees
from inner_loop.agents.access import AgentAccess
from inner_loop.agents.proxy import AgentProxy, ProxyRequest
from trainer.commands.output import CommandOutput

_POLL_SECONDS = 0.2
_FEED_SECONDS = 10.0
_DISK_SHARE = 0.05  # most of the watch's time that is spent on measuring the worktree
_FREE_MB = 512.0  # free on the worktree's file system; only this shows open files without a name


@dataclass(frozen=True)
class AgentEnded:
    """The end of an agent. ``exit_code`` 128 + n for signal n; ``killed``: "wall", "memory", "disk", "output", "budget"
    or "".

    ``stdout`` and ``stderr``: their last 40 kB. ``cpu_seconds``: of all its processes, ``counted_by`` "cgroup" or
    "looks". ``requests``: to the proxy. An agent that we killed has exit code 137.
    """

    exit_code: int
    killed: str
    stdout: bytes
    stderr: bytes
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    counted_by: str = ""
    requests: tuple[ProxyRequest, ...] = ()


class RunningAgent(threading.Thread):
    """A running agent, watched from its start to `finish`. ``killed`` names the limit that was exceeded, or is empty.

    ``cpu_line``: CPU-seconds at which it is killed; may be changed while it runs. ``counted_by``: "looks" at the
    processes, or "cgroup". ``outputs`` count against the limit of output.
    """

    proxy: AgentProxy | None = None

    def __init__(self, process: subprocess.Popen[bytes], access: AgentAccess, worktree: Path) -> None:
        super().__init__(name="agent-watch", daemon=True)
        self.killed = ""
        self.counted_by, self.pause = "looks", _POLL_SECONDS
        self.peak_memory_mb = self.wall_seconds = 0.0
        self.cpu_line = float("inf")
        self.outputs: Sequence[CommandOutput] = ()
        self.process, self.limits, self.worktree = process, access.limits, worktree
        self._began = time.monotonic()
        self._ending = threading.Event()
        self._disk_next = 0.0
        self._free_at_start = _free_mb(worktree)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        for pipe in self.pipes:
            with suppress(OSError):  # unread output
                pipe.close()

    @property
    def pipes(self) -> list[IO[bytes]]:
        """To its stdin, and from its stdout and stderr. Read the latter two, or it blocks."""
        return [pipe for pipe in (self.process.stdin, self.process.stdout, self.process.stderr) if pipe]

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

    def wait(self) -> int:
        """Exit code, 128 + n for signal n."""
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def finish(self) -> None:
        """End its remaining processes, stop watching, and take back what it was given."""
        if self._ending.is_set():
            return
        self._ending.set()
        self.kill("closed")
        self.process.wait()
        self.join()
        self.wall_seconds = time.monotonic() - self._began
        self.release()

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
class AgentRunner(AgentAccess):
    """Runs commands of an agent within its access."""

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        attend: Callable[[], bool] | None = None,
        begun: Callable[[RunningAgent], None] = lambda _: None,
    ) -> AgentEnded:
        """Run a command to its end.

        ``attend`` is called repeatedly in this thread while it runs, and ends it by returning False; ``begun`` is
        called once before. Raises as `popen`.
        """
        with self.popen(command) as agent:
            stdin_pipe, *pipes = agent.pipes
            agent.outputs = outputs = [CommandOutput(pipe) for pipe in pipes]
            feeder = threading.Thread(target=_feed, args=(stdin_pipe, stdin), daemon=True)
            feeder.start()
            begun(agent)
            while attend is not None and agent.process.poll() is None:
                if not attend():
                    agent.kill()
                    break
            exit_code = agent.wait()
            agent.finish()
            feeder.join(_FEED_SECONDS)
            out, err = (output.tail() for output in outputs)
        return AgentEnded(
            exit_code,
            agent.killed,
            out,
            err,
            agent.wall_seconds,
            agent.used,
            agent.peak_memory_mb,
            agent.counted_by,
            tuple(agent.proxy.requests) if agent.proxy else (),
        )

    @abstractmethod
    def popen(self, command: Sequence[str]) -> RunningAgent:
        """Start a command; use the result as a context manager."""


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError):  # an agent need not read it
        pipe.write(data)
    with suppress(OSError):
        pipe.close()


def _free_mb(folder: Path) -> float:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / (1 << 20)
