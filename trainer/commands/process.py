"""Runs one command of a task in a separate sandbox, measures it from outside and kills it at the first limit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field

from trainer.commands.job import CommandEnded, CommandJob, CommandLimits
from trainer.commands.output import CommandOutput
from trainer.commands.view import CommandView
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.launcher import LauncherFault, plain
from trainer.sandbox.tree import CpuCount, descendants, ends, pidfd, resident_mb

_LOOK_SECONDS = 0.05
_END_SECONDS = 10.0
_HEAD_BYTES = 1 << 22


def run_command(job: CommandJob, limits: CommandLimits, what: type[CommandView] = CommandView) -> CommandEnded:
    """Run a job until it ends or is killed. ``what``: the kind of sandbox.

    Raises EnvironmentProblem if no sandbox can be made, LauncherFault if the sandbox fails, TaskError for a path that
    may not be shown.
    """
    view = what(job, limits)
    answer, reply = os.pipe()
    go, let = os.pipe()
    ours, theirs = [answer, let], [reply, go]
    try:
        process, first = view.start(
            lambda ready: view.words(ready, reply, go), pass_fds=theirs, stderr=subprocess.STDOUT
        )
        while theirs:
            os.close(theirs.pop())
        return _Run(process, first, limits, answer, let, job.compiled_mb).carry_out()
    finally:
        view.close()
        for descriptor in (*ours, *theirs):
            with suppress(OSError):
                os.close(descriptor)


class _Run:
    """One run, from the start of its command."""

    def __init__(
        self, process: subprocess.Popen[bytes], first: int, limits: CommandLimits, answer: int, go: int, more_mb: int
    ) -> None:
        self.process, self.limits, self.answer, self.go = process, limits, answer, go
        self.first, self.handle = first, pidfd(first)
        self.count = CpuCount(first)
        self.started = time.monotonic()
        self.killed = ""
        self.peak = 0.0
        self.received = bytearray()
        self.group = Cgroup.create("command")
        if self.group is not None:
            self.group.limit(limits.memory_mb + limits.disk_mb + more_mb, limits.processes + 8)
            self.group.add(process.pid)

    def carry_out(self) -> CommandEnded:
        assert self.process.stdout is not None
        self.output = CommandOutput(self.process.stdout)
        try:
            self._watch()
            self.count.look()  # complete, because the first process still waits for our permission to end
            outside = self.group.cpu_seconds() if self.group else None
            if self.group is not None and len(self.received) < 4 and self.group.out_of_memory_kills():
                self.killed = self.killed or "memory"  # the supervisor was killed too
            wall = time.monotonic() - self.started
        finally:
            self._end()
        log = self.output.text()
        reply = self._reply()
        cpu = max(self.count.seconds, outside or 0.0, reply.cpu_seconds)
        peak = max(self.peak, reply.peak_memory_mb)
        return CommandEnded(
            reply.exit_code, self.killed, cpu, wall, peak, log, reply.files, tuple(reply.missing), tuple(reply.written)
        )

    def _watch(self) -> None:
        """Wait until the reply is complete (its pipe ends), the first process is gone, or a limit is exceeded."""
        poll = select.poll()
        poll.register(self.answer, select.POLLIN | select.POLLHUP)
        while not self.killed:
            if poll.poll(_LOOK_SECONDS * 1000):
                piece = os.read(self.answer, 1 << 20)
                if not piece:
                    return
                self.received += piece
                if len(self.received) > (self.limits.result_mb << 20) + _HEAD_BYTES:
                    raise LauncherFault("the supervisor's reply is too long")
                continue
            self.killed = self._crossed()

    def _crossed(self) -> str:
        cpu = max(self.count.look(), (self.group.cpu_seconds() or 0.0) if self.group else 0.0)
        held = sum(resident_mb(pid) for pid in descendants(self.first))
        self.peak = max(self.peak, held)
        if self.group is not None and self.group.out_of_memory_kills():
            return "memory"
        return self.limits.crossed(cpu, time.monotonic() - self.started, self.output.written, held)

    def _end(self) -> None:
        """Let the first process end, or kill it; the kernel then kills everything in its namespace."""
        with suppress(OSError):
            if self.killed:
                self._kill()
            else:
                os.write(self.go, b"1")
        leaving = pidfd(self.process.pid)  # Popen.wait with a timeout polls, up to 50 ms late
        try:
            if leaving is not None and ends(leaving, _END_SECONDS):
                self.process.wait()
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self.process.kill()
            self.process.wait()
        finally:
            if leaving is not None:
                os.close(leaving)
        if self.handle is not None:
            self._kill()
            gone = ends(self.handle, _END_SECONDS)
            os.close(self.handle)
            self.handle = None
            if not gone:
                raise LauncherFault("a command's processes do not end")
        if self.group is not None:
            self.group.kill()
            self.group.close()

    def _kill(self) -> None:
        if self.handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def _reply(self) -> _Reply:
        """The supervisor's reply; an empty one if it was killed. LauncherFault if it ended without a reply."""
        if self.killed:
            return _Reply()
        if len(self.received) < 4:
            if self.group is not None and self.count.seconds == 0.0:
                raise LauncherFault("the sandbox ended before its command")
            raise LauncherFault(f"the sandbox ended without a reply: {self.output.tail()[-200:]!r}")
        return _Reply.read(self.received)


@dataclass
class _Reply:
    """The supervisor's reply, see `trainer.inside.supervise`."""

    exit_code: int = -9
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, received: bytearray) -> _Reply:
        """Parse a reply; LauncherFault if it is malformed."""
        position = 4 + int.from_bytes(received[:4], "little")
        reply = cls()
        try:
            for line in received[4:position].decode("ascii").splitlines():
                kind, *words = line.split(" ")
                if kind == "ended":
                    reply.exit_code = int(words[0])
                    reply.cpu_seconds, reply.peak_memory_mb = float(words[1]), float(words[2])
                elif kind == "file":
                    size = int(words[0])
                    reply.files[_text(words[1])] = bytes(received[position : position + size])
                    position += size
                else:
                    {"missing": reply.missing, "written": reply.written}[kind].append(plain(_text(words[0]))[:300])
        except (ValueError, IndexError, KeyError):
            raise LauncherFault("the supervisor's reply cannot be parsed") from None
        return reply


def _text(word: str) -> str:
    return bytes.fromhex(word).decode("utf-8", "surrogateescape")
