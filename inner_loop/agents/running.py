"""Runs a command of an agent to its end, in a sandbox (`agents/sandbox`) or as a plain process (`agents/plain`)."""

from __future__ import annotations

import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from inner_loop.agents.access import AgentAccess
from inner_loop.agents.proxy import AgentProxy, ProxyRequest
from inner_loop.agents.watch import AgentWatch
from programs.errors import EnvironmentProblem
from trainer.commands.output import CommandOutput

_FEED_SECONDS = 10.0


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


@dataclass(frozen=True)
class AgentRunner(AgentAccess):
    """Runs commands of an agent within its access."""

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = None,
        attend: Callable[[], bool] | None = None,
        begun: Callable[[AgentWatch], None] = lambda _: None,
    ) -> AgentEnded:
        """Run a command to its end, or for at most ``timeout`` seconds if that is less than the wall limit.

        ``attend`` is called repeatedly in this thread while it runs, and ends it by returning False; ``begun`` is
        called once before, with its watch. Raises as `popen`.
        """
        with self.popen(command, timeout=timeout) as agent:
            stdin_pipe, *pipes = agent.pipes
            agent.watch.outputs = outputs = [CommandOutput(pipe) for pipe in pipes]
            feeder = threading.Thread(target=_feed, args=(stdin_pipe, stdin or b""), daemon=True)
            feeder.start()
            begun(agent.watch)
            while attend is not None and agent.process.poll() is None:
                if not attend():
                    agent.kill()
                    break
            exit_code = agent.wait()
            agent.finish()
            feeder.join(_FEED_SECONDS)
            out, err = (output.tail() for output in outputs)
        watch = agent.watch
        return AgentEnded(
            exit_code,
            watch.killed,
            out,
            err,
            agent.wall_seconds,
            watch.used,
            watch.peak_memory_mb,
            watch.counted_by,
            tuple(agent.proxy.requests) if agent.proxy else (),
        )

    def wall(self, timeout: float | None) -> float:
        """The limit of wall seconds."""
        return self.limits.wall_seconds if timeout is None else min(self.limits.wall_seconds, timeout)

    @abstractmethod
    def popen(self, command: Sequence[str], *, timeout: float | None = None) -> RunningAgent:
        """Start a command; use the result as a context manager."""


class RunningAgent:
    """A running agent."""

    process: subprocess.Popen[bytes]
    watch: AgentWatch
    proxy: AgentProxy | None = None

    def __init__(self, worktree: Path) -> None:
        self.worktree = worktree
        self._finished = False
        self.wall_seconds = 0.0

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

    def kill(self) -> None:
        self.watch.kill("asked")

    def wait(self) -> int:
        """Exit code, 128 + n for signal n."""
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def finish(self) -> None:
        """End its remaining processes and take the worktree back. EnvironmentProblem if a process does not end."""
        if self._finished:
            return
        self._finished = True
        gone = self.watch.finish()
        self.wall_seconds = time.monotonic() - self.watch.started
        if not gone:  # the worktree stays given: it is still written
            raise EnvironmentProblem(f"{self.worktree}: an agent's processes do not end", hint="find them with ps")
        self.release()

    @abstractmethod
    def release(self) -> None:
        """Take back what the agent was given."""


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError):  # an agent need not read it
        pipe.write(data)
    with suppress(OSError):
        pipe.close()
