"""Runs a job in a sandbox of its own, measures it from outside and kills it at the first limit.

Processes: we -> bwrap -> the first process inside (`trainer.inside.supervise`, the init of its process namespace) ->
the job. bwrap dies with the thread that called us, the first process with bwrap, all others with the first process.

Pipes: the order comes to the first process in a file; its one-time ``ready`` says that the sandbox is made; stdout and
stderr of the job are read by a thread each; the reply comes through ``reply`` once all other processes are dead; then
the first process waits for a byte from ``go``, so that its CPU time can be read until the last moment.
"""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from trainer.jobs import writable_folder
from trainer.jobs.job import COMPILED, COMPILED_MB, Ended, Job, LauncherFault, plain
from trainer.jobs.process_tree import Attend, ProcessTree
from trainer.sandbox import bwrap, login_keys
from trainer.sandbox.blob import memory_file
from trainer.sandbox.tree import ends, pidfd
from trainer.sandbox.view import View, environment

WORK, SCRIPTS = "/task", "/run/metaloop/bin"
_COMPILED = os.path.normpath(f"{WORK}/{COMPILED}")
_COMPILERS = {
    "TORCHINDUCTOR_CACHE_DIR": f"{_COMPILED}/inductor",
    "TRITON_CACHE_DIR": f"{_COMPILED}/triton",
    "CUDA_CACHE_PATH": f"{_COMPILED}/cuda",
    "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
    "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
}
_END_SECONDS = 10.0
_HEAD_BYTES = 1 << 22
_SHARED_MB = 256  # of /dev/shm at most


def run_sandboxed(job: Job, attend: Attend | None = None) -> Ended:
    """Run a job until it ends or is killed.

    Raises EnvironmentProblem if no sandbox can be made, LauncherFault if the sandbox fails, UsageError for a folder
    that may not be given to the job.
    """
    bwrap.ensure()
    if job.folder is None:
        return _run(job, attend)
    folder = writable_folder.check(job.folder)
    sockets = [path for path in job.bound.values() if path.is_socket()]
    with writable_folder.handed_over(folder, bwrap.dropped_uid(), sockets):
        return _run(replace(job, folder=folder), attend)


def _run(job: Job, attend: Attend | None) -> Ended:
    answer, reply = os.pipe()
    go, allow = os.pipe()
    ours, theirs = [answer, allow], [reply, go]
    stdin = subprocess.PIPE if job.stdin else subprocess.DEVNULL
    stderr = subprocess.PIPE if job.errors_apart else subprocess.STDOUT
    received = bytearray()
    try:
        with ExitStack() as stack:
            order = _order(job, stack) | {"reply": reply, "go": go}
            fds = [order["given"], *theirs]
            process, first = _view(job).start(order, pass_fds=fds, stdin=stdin, stderr=stderr)
        while theirs:
            os.close(theirs.pop())
        tree = ProcessTree(process, job, first)
        try:
            tree.watch(attend, lambda seconds: _receive(answer, received, seconds, job.limits.result_mb))
            tree.look()  # complete, because the first process still waits for our permission to end
            wall = tree.wall
            if not tree.killed:
                _let_end(tree, allow)
        finally:
            tree.end()
    finally:
        for descriptor in (*ours, *theirs):
            os.close(descriptor)
    ended = tree.ended(-9, wall)
    return ended if ended.killed else _read_reply(received, ended)


def _view(job: Job) -> View:
    """What the job sees of this machine, and where it may write."""
    home, size = f"/home/{job.user}", job.limits.tmp_mb or job.limits.disk_mb
    memory = {"/tmp": size, home: size, "/dev/shm": min(size, _SHARED_MB)}
    memory |= {WORK: job.limits.disk_mb} if job.folder is None else {}
    memory |= {_COMPILED: COMPILED_MB} if job.compiles else {}
    scripts = {f"{SCRIPTS}/{name}": (data, "0555") for name, data in job.scripts.items()}
    return View(
        user=job.user,
        readable=job.readable,
        memory=memory,
        hidden=job.hidden,
        files=scripts | {name: (data, "0600") for name, data in job.copies.items()},
        bound={os.path.join(WORK, name): path for name, path in job.bound.items()},
        writable=job.folder,
        network=job.network,
        devices=(job.gpu.binds, job.gpu.driver_folders) if job.gpu else ((), ()),
    )


def _order(job: Job, stack: ExitStack) -> dict[str, Any]:
    """What `trainer.inside.supervise` is to do; it reads the descriptor ``given``, open until the end of ``stack``."""
    files = sorted(file for file in job.laid() if not login_keys.is_key(*file[:2]))
    content = memory_file(b"".join(data for _, data, _ in files))
    stack.callback(os.close, content)
    return {
        "command": list(job.command),
        "environment": _environment(job),
        "folder": WORK if job.folder is None else str(job.folder),
        "limits": job.limits.inside(),
        "files": [(name, len(data), mode) for name, data, mode in files],
        "given": content,
        "links": list(job.links.items()),
        "relays": dict(job.relays),
        "kept": list(job.kept),
        "wanted": list(job.wanted),
        "wanted_bytes": job.limits.result_mb << 20,
    }


def _environment(job: Job) -> dict[str, str]:
    """The job's environment, without Metaloop's own variables."""
    variables = environment([SCRIPTS, *job.tools] if job.scripts else job.tools)
    if gpu := job.gpu:
        variables |= {**gpu.environment, "LD_LIBRARY_PATH": ":".join(gpu.driver_folders)}
    variables |= _COMPILERS if job.compiles else {}
    return {**variables, **job.environment, "HOME": f"/home/{job.user}"}


def _receive(answer: int, received: bytearray, seconds: float, result_mb: int) -> bool:
    """Read the reply; whether it is complete (its pipe has ended, perhaps with the first process)."""
    poll = select.poll()
    poll.register(answer, select.POLLIN | select.POLLHUP)
    while poll.poll(seconds * 1000):
        piece = os.read(answer, 1 << 20)
        if not piece:
            return True
        received += piece
        if len(received) > (result_mb << 20) + _HEAD_BYTES:
            raise LauncherFault("the supervisor's reply is too long")
    return False


def _let_end(tree: ProcessTree, allow: int) -> None:
    leaving = pidfd(tree.process.pid)  # Popen.wait with a timeout polls, up to 50 ms late
    with suppress(OSError):
        os.write(allow, b"1")
    if leaving is not None:
        ends(leaving, _END_SECONDS)
        os.close(leaving)


def _read_reply(received: bytearray, ended: Ended) -> Ended:
    """With the supervisor's reply, see `trainer.inside.supervise`. LauncherFault if there is none, or no valid one."""
    if len(received) < 4:
        raise LauncherFault(f"the sandbox ended without a reply: {(ended.errors or ended.log)[-200:]!r}")
    position = 4 + int.from_bytes(received[:4], "little")
    code, cpu, peak = -9, 0.0, 0.0
    files, texts = dict[str, bytes](), {"missing": list[str](), "written": list[str]()}
    try:
        for line in received[4:position].decode("ascii").splitlines():
            kind, *words = line.split(" ")
            if kind == "ended":
                code, cpu, peak = int(words[0]), float(words[1]), float(words[2])
            elif kind == "file":
                size = int(words[0])
                files[_text(words[1])] = bytes(received[position : position + size])
                position += size
            else:
                texts[kind].append(plain(_text(words[0]))[:300])
    except (ValueError, IndexError, KeyError):
        raise LauncherFault("the supervisor's reply cannot be parsed") from None
    return replace(
        ended,
        exit_code=code,
        cpu_seconds=max(ended.cpu_seconds, cpu),
        peak_memory_mb=max(ended.peak_memory_mb, peak),
        files=files,
        missing=tuple(texts["missing"]),
        written=tuple(texts["written"]),
    )


def _text(word: str) -> str:
    return bytes.fromhex(word).decode("utf-8", "surrogateescape")
