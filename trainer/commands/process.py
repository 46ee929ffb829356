"""Runs one command of a task in a separate sandbox, measures it from outside and kills it at the first limit."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from trainer.commands.job import CommandEnded, CommandJob
from trainer.commands.view import order_of, view_of
from trainer.sandbox.launcher import LauncherFault, plain
from trainer.sandbox.process_tree import CommandLimits, ProcessTree
from trainer.sandbox.tree import ends, pidfd

_LOOK_SECONDS = 0.05
_END_SECONDS = 10.0
_HEAD_BYTES = 1 << 22


def run_command(job: CommandJob, limits: CommandLimits) -> CommandEnded:
    """Run a job until it ends or is killed.

    Raises EnvironmentProblem if no sandbox can be made, LauncherFault if the sandbox fails, TaskError for a path that
    may not be shown.
    """
    view = view_of(job, limits)
    answer, reply = os.pipe()
    go, let = os.pipe()
    ours, theirs = [answer, let], [reply, go]
    try:
        with ExitStack() as stack:
            order, fds = order_of(job, limits, stack)
            order |= {"reply": reply, "go": go}
            process, first = view.start(order, pass_fds=[*fds, *theirs], stderr=subprocess.STDOUT)
        while theirs:
            os.close(theirs.pop())
        return _carried_out(ProcessTree(process, limits, first, limits.disk_mb + job.compiled_mb), answer, let)
    finally:
        for descriptor in (*ours, *theirs):
            with suppress(OSError):
                os.close(descriptor)


def _carried_out(tree: ProcessTree, answer: int, go: int) -> CommandEnded:
    """``answer``: where the first process writes its reply; ``go``: a byte to it lets the process end."""
    received = bytearray()
    try:
        _watch(tree, answer, received)
        tree.look()  # complete, because the first process still waits for our permission to end
        wall = tree.wall
        if not tree.killed:
            _let_end(tree, go)
    finally:
        tree.end()
    log, reply = tree.outputs[0].text(), _Reply()
    if not tree.killed and len(received) < 4:
        raise LauncherFault(f"the sandbox ended without a reply: {log[-200:]!r}")
    if not tree.killed:
        reply = _Reply.read(received)
    cpu, peak = max(tree.look(), reply.cpu_seconds), max(tree.peak_memory_mb, reply.peak_memory_mb)
    return CommandEnded(
        reply.exit_code, tree.killed, cpu, wall, peak, log, reply.files, tuple(reply.missing), tuple(reply.written)
    )


def _watch(tree: ProcessTree, answer: int, received: bytearray) -> None:
    """Wait until the reply is complete (its pipe ends), the first process is gone, or a limit is exceeded."""
    poll = select.poll()
    poll.register(answer, select.POLLIN | select.POLLHUP)
    while True:
        if not poll.poll(_LOOK_SECONDS * 1000):
            if crossed := tree.crossed():
                return tree.kill(crossed)
            continue
        piece = os.read(answer, 1 << 20)
        if not piece:
            return None
        received += piece
        if len(received) > (tree.limits.result_mb << 20) + _HEAD_BYTES:
            raise LauncherFault("the supervisor's reply is too long")


def _let_end(tree: ProcessTree, go: int) -> None:
    leaving = pidfd(tree.process.pid)  # Popen.wait with a timeout polls, up to 50 ms late
    with suppress(OSError):
        os.write(go, b"1")
    if leaving is not None:
        if ends(leaving, _END_SECONDS):
            tree.process.wait()
        os.close(leaving)


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
