"""The sandbox of a coding agent: its worktree and the network that the user allows, nothing else.

bubblewrap makes the namespaces (`trainer.bwrap`), `agents/view` the file system, `trainer.call_filter` filters system
calls, `proxy` is the network access, the watch enforces the limits. docs/agents.md lists what is promised.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inner_loop import worktree as trees
from inner_loop.agents.access import NETWORKS, AgentLimits, Network
from inner_loop.agents.proxy import AgentProxy
from inner_loop.agents.running import AgentRunner, RunningAgent
from inner_loop.agents.view import View
from inner_loop.agents.watch import AgentWatch
from programs.errors import UsageError
from trainer import bwrap
from trainer.cgroup import Cgroup
from trainer.tree import CpuCount, descendants, pidfd, resident_mb

_LOOK_SECONDS = 0.05  # between two looks without a cgroup, to see short processes
_END_SECONDS = 10.0
_HELPERS = 8  # processes of ours in the group
_START_SECONDS = 60.0


def describe(network: Network) -> str:
    """One line for help texts, `plan` and `doctor`."""
    return {
        "none": "no network: the agent reaches only its worktree, the experiment command and the models' gateway",
        "proxy": "HTTPS to the LLM APIs' hosts only, through a proxy that logs each request; no DNS",
        "full": "this machine's whole network, including local services and metadata addresses; nothing is logged",
    }[network]


@dataclass(frozen=True)
class AgentSandbox(AgentRunner):
    """Runs commands of an agent within its access."""

    def popen(self, command: Sequence[str], *, timeout: float | None = None) -> SandboxedAgent:
        """EnvironmentProblem if no sandbox can be made, UsageError for a path that cannot be shown. The agent dies with
        the calling thread."""
        if self.network not in NETWORKS:
            raise UsageError(f"--agent-network {self.network}: no such network", hint=", ".join(NETWORKS))
        bwrap.ensure()
        return SandboxedAgent(self, trees.check(self.worktree), command, self.wall(timeout))


class SandboxedAgent(RunningAgent):
    """A running agent in its sandbox."""

    def __init__(self, sandbox: AgentSandbox, worktree: Path, command: Sequence[str], wall: float) -> None:
        super().__init__(worktree)
        self._owner: tuple[int, int] | None = None
        self.proxy = AgentProxy(sandbox.allow_hosts) if sandbox.network == "proxy" else None
        try:
            self._hand_over(sandbox)
            self.process, first = _start(sandbox, worktree, command, self.proxy.socket if self.proxy else None)
            self.watch = SandboxWatch(self.process, first, sandbox.limits, worktree, wall)
        except BaseException:
            self.release()
            raise

    def _hand_over(self, sandbox: AgentSandbox) -> None:
        """As root the agent has another uid, which must own what the agent writes and connects to."""
        uid = bwrap.dropped_uid()
        if uid is None:
            return
        status = self.worktree.stat()
        abandoned = status.st_uid == uid  # by a killed process of ours
        self._owner = (os.geteuid(), os.getegid()) if abandoned else (status.st_uid, status.st_gid)
        trees.give(self.worktree, uid)
        if sandbox.experiment_socket is not None:
            os.chown(sandbox.experiment_socket, uid, -1)

    def release(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        if self._owner is not None:
            trees.take_back(self.worktree, *self._owner)


class SandboxWatch(AgentWatch):
    """The watch of a sandbox: a cgroup if there is one, else looks at its processes."""

    def __init__(
        self, process: subprocess.Popen[bytes], first: int, limits: AgentLimits, worktree: Path, wall: float
    ) -> None:
        """``first``: pid of the first process in the sandbox; when it ends, all in it end. ``wall``: seconds."""
        super().__init__(process, limits, worktree, wall)
        self._first = first
        self._handle = pidfd(first)
        self._group = Cgroup.create("agent")
        if self._group is not None:
            self._group.limit(limits.memory_mb, limits.processes + _HELPERS)
            self._group.add(process.pid)
        self._count, self._used, self._reading = CpuCount(first), 0.0, threading.Lock()
        self._before = self._count.look()  # setting up the sandbox is not charged
        if self._group is not None and "cpu" in self._group.controls:
            self.counted_by = "cgroup"
        else:
            self.pause = _LOOK_SECONDS
        self.start()

    @property
    def used(self) -> float:
        """CPU-seconds of all processes of the sandbox so far, the larger of the cgroup's and our own count."""
        with self._reading:
            outside = self._group.cpu_seconds() if self._group else None
            self._used = max(self._used, self._count.look() - self._before, outside or 0.0)
            return self._used

    def kill_processes(self) -> None:
        with suppress(OSError):
            self.process.kill()
        if self._handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def finish(self) -> bool:
        super().finish()
        gone = True
        if self._handle is not None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            gone = bool(poll.poll(_END_SECONDS * 1000))
            os.close(self._handle)
            self._handle = None
        if self._group is not None:
            if self._group.out_of_memory_kills() and not self.killed:
                self.killed = "memory"  # the kernel was faster than our poll
            self._used = self.used
            self.peak_memory_mb = max(self.peak_memory_mb, self._group.peak_memory_mb() or 0.0)
            self._group.kill()
            self._group.close()
        return gone

    def memory_crossed(self) -> bool:
        """By the kernel with a memory cgroup; else from the sum over all processes."""
        if self._group is not None and "memory" in self._group.controls:
            return self._group.out_of_memory_kills() > 0
        held = sum(resident_mb(pid) for pid in descendants(self._first))
        self.peak_memory_mb = max(self.peak_memory_mb, held)
        return held > self.limits.memory_mb


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
