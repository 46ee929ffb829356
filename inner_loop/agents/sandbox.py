"""The sandbox of a coding agent: its worktree and the network that the user allows, nothing else.

bubblewrap makes the namespaces (`trainer.sandbox.bwrap`), `agents/view` the file system, `trainer.sandbox.call_filter`
filters system calls, `proxy` is the network access, the watch enforces the limits. docs/agents.md lists what is
promised.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from inner_loop import worktree as trees
from inner_loop.agents.proxy import AgentProxy
from inner_loop.agents.running import AgentRunner, RunningAgent
from inner_loop.agents.view import View
from programs.errors import EnvironmentProblem
from trainer.sandbox import bwrap
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.tree import CpuCount, descendants, ends, pidfd, resident_mb

_LOOK_SECONDS = 0.05  # between two looks without a cgroup, to see short processes
_END_SECONDS = 10.0
_HELPERS = 8  # processes of ours in the group


@dataclass(frozen=True)
class AgentSandbox(AgentRunner):
    """Runs commands of an agent within its access."""

    def start(self, command: Sequence[str]) -> SandboxedAgent:
        """The agent dies with the calling thread."""
        bwrap.ensure()
        return SandboxedAgent(self, trees.check(self.worktree), command)


class SandboxedAgent(RunningAgent):
    """A running agent in its sandbox, counted by a cgroup if there is one."""

    def __init__(self, sandbox: AgentSandbox, worktree: Path, command: Sequence[str]) -> None:
        self._owner: tuple[int, int] | None = None
        self._worktree = worktree
        self.proxy = AgentProxy(sandbox.allow_hosts) if sandbox.network == "proxy" else None
        try:
            self._hand_over(sandbox)
            proxy = self.proxy.path if self.proxy else None
            with closing(View()) as view:
                # when the first process in the sandbox ends, all in it end
                process, self._first = view.start(
                    lambda ready: view.command(sandbox, worktree, proxy, command, ready), stdin=subprocess.PIPE
                )
            super().__init__(process, sandbox, worktree)
        except BaseException:
            self._take_back()
            raise
        self._pidfd = pidfd(self._first)
        self._group = Cgroup.create("agent")
        if self._group is not None:
            self._group.limit(self.limits.memory_mb, self.limits.processes + _HELPERS)
            self._group.add(process.pid)
        self._count, self._used, self._reading = CpuCount(self._first), 0.0, threading.Lock()
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
        if self._pidfd is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def release(self) -> None:
        gone = True
        if self._pidfd is not None:
            gone = ends(self._pidfd, _END_SECONDS)
            os.close(self._pidfd)
            self._pidfd = None
        if self._group is not None:
            if self._group.out_of_memory_kills() and not self.killed:
                self.killed = "memory"  # the kernel was faster than our poll
            self._used = self.used
            self.peak_memory_mb = max(self.peak_memory_mb, self._group.peak_memory_mb() or 0.0)
            self._group.kill()
            self._group.close()
        if not gone:  # the worktree stays given: it is still written
            raise EnvironmentProblem(f"{self._worktree}: an agent's processes do not end", hint="find them with ps")
        self._take_back()

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

    def _take_back(self) -> None:
        if self.proxy is not None:
            self.proxy.close()
        if self._owner is not None:
            trees.take_back(self._worktree, *self._owner)

    def memory_crossed(self) -> bool:
        """By the kernel with a memory cgroup; else from the sum over all processes."""
        if self._group is not None and "memory" in self._group.controls:
            return self._group.out_of_memory_kills() > 0
        held = sum(resident_mb(pid) for pid in descendants(self._first))
        self.peak_memory_mb = max(self.peak_memory_mb, held)
        return held > self.limits.memory_mb
