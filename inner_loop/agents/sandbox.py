"""The sandbox of a coding agent: its worktree and the network that the user allows, nothing else.

bubblewrap makes the namespaces (`trainer.sandbox.bwrap`), `agents/view` the file system, `trainer.sandbox.call_filter`
filters system calls, `proxy` is the network access, `agents/watch` enforces the limits. docs/agents.md lists what is
promised.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from inner_loop import worktree as trees
from inner_loop.agents.access import NETWORKS, AgentAccess, Network
from inner_loop.agents.proxy import AgentProxy, ProxyRequest
from inner_loop.agents.view import View
from inner_loop.agents.watch import OutputTail, SandboxWatch
from programs.errors import EnvironmentProblem, UsageError
from trainer.sandbox import bwrap

_START_SECONDS = 60.0
_TAIL_BYTES = 1 << 16


def describe(network: Network) -> str:
    """One line for help texts, `plan` and `doctor`."""
    return {
        "none": "no network: the agent reaches only its worktree, the experiment command and the models' gateway",
        "proxy": "HTTPS to the LLM APIs' hosts only, through a proxy that logs each request; no DNS",
        "full": "this machine's whole network, including local services and metadata addresses; nothing is logged",
    }[network]


@dataclass(frozen=True)
class AgentEnded:
    """The end of an agent. ``exit_code`` 128 + n for signal n; ``killed``: "wall", "memory", "disk", "output", "budget"
    or "".

    ``stdout`` and ``stderr`` are their last 64 KiB, of ``written`` bytes in all. ``cpu_seconds`` covers all its
    processes, ``counted_by`` "cgroup" or "looks". ``requests``: to the proxy. A sandbox that we killed has exit code
    137.
    """

    exit_code: int
    killed: str
    stdout: bytes
    stderr: bytes
    written: int
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    counted_by: str = ""
    requests: tuple[ProxyRequest, ...] = ()


@dataclass(frozen=True)
class AgentSandbox(AgentAccess):
    """Runs commands of an agent within its access."""

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = None,
        attend: Callable[[], bool] | None = None,
        begun: Callable[[SandboxWatch], None] = lambda _: None,
    ) -> AgentEnded:
        """Run a command to its end, or for at most ``timeout`` seconds if that is less than the wall limit.

        ``attend`` is called repeatedly in this thread while it runs, and ends it by returning False; ``begun`` is
        called once before, with its watch. EnvironmentProblem if no sandbox can be made, UsageError for a path that
        cannot be shown.
        """
        with self.popen(command, timeout=timeout) as agent:
            limit, flood = _TAIL_BYTES, self.limits.output_mb << 20
            tails = [OutputTail(pipe.fileno(), limit, flood, agent.watch) for pipe in (agent.stdout, agent.stderr)]
            feeder = threading.Thread(target=_feed, args=(agent.stdin, stdin or b""), daemon=True)
            feeder.start()
            begun(agent.watch)
            while attend is not None and agent.process.poll() is None:
                if not attend():
                    agent.kill()
                    break
            exit_code = agent.wait()
            agent.finish()
            feeder.join()
            out, err = (tail.value() for tail in tails)
        watch, requests = agent.watch, tuple(agent.proxy.requests) if agent.proxy else ()
        written = sum(tail.total for tail in tails)
        return AgentEnded(
            exit_code,
            watch.killed,
            out,
            err,
            written,
            agent.wall_seconds,
            watch.used,
            watch.peak_memory_mb,
            watch.counted_by,
            requests,
        )

    def popen(self, command: Sequence[str], *, timeout: float | None = None) -> Agent:
        """Start a command; use the result as a context manager. It dies with the calling thread."""
        if self.network not in NETWORKS:
            raise UsageError(f"--agent-network {self.network}: no such network", hint=", ".join(NETWORKS))
        bwrap.ensure()
        worktree = trees.check(self.worktree)
        wall = min(self.limits.wall_seconds, timeout if timeout is not None else self.limits.wall_seconds)
        return Agent(self, worktree, command, wall)


class Agent:
    """A running agent with its pipes ``stdin``, ``stdout`` and ``stderr``. Read the latter two, or it blocks."""

    def __init__(self, sandbox: AgentSandbox, worktree: Path, command: Sequence[str], wall: float) -> None:
        self._worktree = worktree
        self._owner: tuple[int, int] | None = None
        self._finished = False
        self.wall_seconds = 0.0
        self.proxy = AgentProxy(sandbox.allow_hosts) if sandbox.network == "proxy" else None
        try:
            self._hand_over(sandbox)
            self.process, first = _start(sandbox, worktree, command, self.proxy.socket if self.proxy else None)
            self.watch = SandboxWatch(self.process, first, sandbox.limits, worktree, wall)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(OSError):  # unread output
                pipe.close()

    @property
    def stdin(self) -> IO[bytes]:
        return _there(self.process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return _there(self.process.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        return _there(self.process.stderr)

    def kill(self) -> None:
        self.watch.kill("asked")

    def wait(self, timeout: float | None = None) -> int:
        """Exit code, 128 + n for signal n. subprocess.TimeoutExpired after ``timeout`` seconds."""
        code = self.process.wait(timeout)
        return code if code >= 0 else 128 - code

    def finish(self) -> None:
        """End its remaining processes and take the worktree back. EnvironmentProblem if a process does not end."""
        if self._finished:
            return
        self._finished = True
        gone = self.watch.finish()
        self.wall_seconds = time.monotonic() - self.watch.started
        if not gone:  # the worktree stays given: it is still written
            raise EnvironmentProblem(f"{self._worktree}: an agent's processes do not end", hint="find them with ps")
        self._release()

    def _hand_over(self, sandbox: AgentSandbox) -> None:
        """As root the agent has another uid, which must own what the agent writes and connects to."""
        uid = bwrap.dropped_uid()
        if uid is None:
            return
        status = self._worktree.stat()
        abandoned = status.st_uid == uid  # by a killed process of ours
        self._owner = (os.geteuid(), os.getegid()) if abandoned else (status.st_uid, status.st_gid)
        trees.give(self._worktree, uid)
        if sandbox.experiment_socket is not None:
            os.chown(sandbox.experiment_socket, uid, -1)

    def _release(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        if self._owner is not None:
            trees.take_back(self._worktree, *self._owner)


def _start(
    sandbox: AgentSandbox, worktree: Path, command: Sequence[str], proxy: Path | None
) -> tuple[subprocess.Popen[bytes], int]:
    """The process of bwrap and the pid of the first one inside, when the agent is about to run."""
    view = View(sandbox, worktree, proxy)
    ready, signal_ready = os.pipe()
    info, say = os.pipe()
    try:
        words = view.command(sandbox, worktree, command, signal_ready)
        process = bwrap.launch(
            ["--info-fd", str(say), *view.options],
            words,
            reach=view.reach,
            pass_fds=[*view.fds, signal_ready, say],
            stdin=subprocess.PIPE,
        )
        os.close(signal_ready)
        os.close(say)
        signal_ready = say = -1
        if _read(ready) != b"1":
            process.kill()
            _, said = process.communicate()
            raise bwrap.diagnose(said.decode("utf-8", "replace").strip())
        return process, int(json.loads(_read(info))["child-pid"])
    finally:
        view.close()
        for descriptor in (ready, signal_ready, info, say):
            if descriptor >= 0:
                os.close(descriptor)


def _read(descriptor: int) -> bytes:
    """Everything up to the end of a pipe; empty if that does not come in time."""
    data, deadline = b"", time.monotonic() + _START_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(descriptor, 4096)
        if not piece:
            return data
        data += piece
    return b""


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError):  # an agent need not read it
        pipe.write(data)
    with suppress(OSError):
        pipe.close()


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
