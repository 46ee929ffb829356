"""Runs one command of a task in a sandbox of its own: metered from outside, ended at the first line it crosses."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trainer import bwrap
from trainer.cgroup import Group
from trainer.command_view import CommandLimits, CommandView, Job
from trainer.launcher import LauncherFault, plain
from trainer.tree import CpuCount, descendants, pidfd, resident_mb

_LOOK_SECONDS = 0.05
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_TAIL_BYTES = 40_000
_HEAD_BYTES = 1 << 22


@dataclass(frozen=True)
class CommandEnded:
    """How it ended. ``exit_code`` negative for a signal; ``killed``: "cpu", "wall", "memory", "output" or "".

    ``log`` is the end of stdout and stderr in the order written; ``files``: what was fetched of ``wanted``, ``missing``
    what was not, with the reason. ``cpu_seconds`` are those of all its processes, by the largest of the counts.
    """

    exit_code: int
    killed: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    log: str
    files: dict[str, bytes]
    missing: tuple[str, ...]


def run_command(job: Job, limits: CommandLimits) -> CommandEnded:
    """Run a job to its end, or to its end by us.

    EnvironmentProblem where no sandbox can be made, LauncherFault where it fails by itself, TaskError for a path that
    cannot be shown.
    """
    view = CommandView(job, limits)
    told, ready = os.pipe()
    answer, reply = os.pipe()
    go, let = os.pipe()
    info, say = os.pipe()
    ours, theirs = [told, answer, let, info], [ready, reply, go, say]
    try:
        words = view.words(ready, reply, go)
        process = bwrap.launch(
            ["--info-fd", str(say), *view.options], words,
            reach=view.reach, pass_fds=[*view.fds, *theirs], stderr=subprocess.STDOUT,
        )  # fmt: skip
        while theirs:
            os.close(theirs.pop())
        if _wait_for(told, process) != b"1":
            process.kill()
            said, _ = process.communicate()
            raise bwrap.diagnose(said.decode("utf-8", "replace").strip())
        first = int(json.loads(os.read(info, 4096))["child-pid"])
        return _Run(process, first, limits, answer, let).carry_out()
    finally:
        view.close()
        for descriptor in (*ours, *theirs):
            with suppress(OSError):
                os.close(descriptor)


class _Run:
    """One run from the moment that its command starts."""

    def __init__(self, process: subprocess.Popen[bytes], first: int, limits: CommandLimits, answer: int, go: int):
        self.process, self.limits, self.answer, self.go = process, limits, answer, go
        self.first, self.handle = first, pidfd(first)
        self.count = CpuCount(first)
        self.started = time.monotonic()
        self.killed = ""
        self.peak = 0.0
        self.tail = bytearray()
        self.written = 0
        self.received = bytearray()
        self.group = Group.create("command")
        if self.group is not None:
            self.group.limit(limits.memory_mb + limits.disk_mb, limits.processes + 8)
            self.group.add(process.pid)

    def carry_out(self) -> CommandEnded:
        reader = threading.Thread(target=self._read_log, name="command-output", daemon=True)
        reader.start()
        try:
            self._watch()
            self.count.look()  # the first process waits: what it has waited for is complete
            outside = self.group.cpu_seconds() if self.group else None
            wall = time.monotonic() - self.started
        finally:
            self._end()
        reader.join(_END_SECONDS)
        head, files = self._reply()
        cpu = max(self.count.seconds, outside or 0.0, float(head.get("cpu_seconds", 0.0)))
        code = -9 if self.killed or not head else int(head["exit_code"])
        peak = max(self.peak, float(head.get("peak_memory_mb", 0.0)))
        log = plain(bytes(self.tail[-_TAIL_BYTES:]).decode("utf-8", "replace"))[-_TAIL_BYTES:]
        missing = tuple(plain(str(text))[:300] for text in head.get("missing", ()))
        return CommandEnded(code, self.killed, cpu, wall, peak, log, files, missing)

    def _watch(self) -> None:
        """Until the reply is complete (its pipe ends), the first process is gone, or a line is crossed."""
        poll = select.poll()
        poll.register(self.answer, select.POLLIN | select.POLLHUP)
        while not self.killed:
            if poll.poll(_LOOK_SECONDS * 1000):
                piece = os.read(self.answer, 1 << 20)
                if not piece:
                    return
                self.received += piece
                if len(self.received) > (self.limits.result_mb << 20) + _HEAD_BYTES:
                    raise LauncherFault("the supervisor says more than it may")
                continue
            self.killed = self._crossed()

    def _crossed(self) -> str:
        cpu = max(self.count.look(), (self.group.cpu_seconds() or 0.0) if self.group else 0.0)
        if cpu > self.limits.cpu_seconds:
            return "cpu"
        if time.monotonic() - self.started > self.limits.wall_seconds:
            return "wall"
        if self.written > self.limits.output_mb << 20:
            return "output"
        held = sum(resident_mb(pid) for pid in descendants(self.first))
        self.peak = max(self.peak, held)
        full = self.group is not None and self.group.out_of_memory_kills() > 0
        return "memory" if full or held > self.limits.memory_mb else ""

    def _end(self) -> None:
        """Let the first process leave, or kill it; with it goes everything in its namespace."""
        with suppress(OSError):
            if self.killed:
                self._kill()
            else:
                os.write(self.go, b"1")
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self.process.kill()
            self.process.wait()
        if self.handle is not None:
            self._kill()
            poll = select.poll()
            poll.register(self.handle, select.POLLIN)
            gone = bool(poll.poll(_END_SECONDS * 1000))
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

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                self.written += len(data)
                self.tail += data
                if len(self.tail) > 4 * _TAIL_BYTES:
                    del self.tail[:-_TAIL_BYTES]

    def _reply(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What the supervisor said; empty where it was killed. LauncherFault where it left without a word."""
        if self.killed:
            return {}, {}
        if len(self.received) < 4:
            if self.group is not None and self.count.seconds == 0.0:
                raise LauncherFault("the sandbox ended before its command")
            raise LauncherFault(f"the sandbox ended without a word: {bytes(self.tail[-200:])!r}")
        (size,) = struct.unpack("<I", self.received[:4])
        head = json.loads(self.received[4 : 4 + size])
        files, place = {}, 4 + size
        for name, length in head["files"]:
            files[name] = bytes(self.received[place : place + length])
            place += length
        return head, files


def _wait_for(told: int, process: subprocess.Popen[bytes]) -> bytes:
    """What the inside says once it stands; empty if it ends or does not come in time."""
    poll = select.poll()
    poll.register(told, select.POLLIN | select.POLLHUP)
    return os.read(told, 1) if poll.poll(_START_SECONDS * 1000) else b""
