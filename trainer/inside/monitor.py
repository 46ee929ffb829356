"""The monitor: a fork of the template for one experiment. It prepares the experiment's folder, enforces its limits,
and copies the results out.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import stat
import tempfile
import time
from typing import Any, NoReturn

from trainer.inside import child, metering, namespaces
from trainer.inside.supervise import lay

LOG_BYTES = 16_384  # kept from the end of an experiment's output
MAX_PROCESSES = 64  # descendants of one experiment without a sandbox; more is a fork bomb. A sandbox allows one.
MIN_LOOK, MAX_LOOK = 0.002, 0.25  # seconds between two checks of the clocks


class ProcessMonitor:
    """Monitors one forked experiment until it ends or exceeds a limit."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.sandboxed: bool = request["sandboxed"]
        self.meter = metering.CpuMeter()
        self.log = b""
        self.killed = ""
        self.files_mb = 0.0  # at most at one time, as far as it was looked at
        self.own = 0.0  # CPU-seconds of this process before monitoring

    def run(self, descriptors: dict[str, int], base_bytes: int) -> dict[str, Any]:
        """Fork, monitor, clean up; returns most of the reply to the launcher."""
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        started = time.monotonic()
        self.own = time.process_time()
        self.pid = os.fork()
        if self.pid == 0:
            given = {name: descriptors[name] for name in child.PASSED if name in descriptors}
            child.main(self.request, given | {"log": log_write, "status": status_write}, base_bytes)
        os.close(log_write)
        os.close(status_write)
        for name in child.PASSED:  # so that the other side of a conversation notices the experiment's end
            if name in descriptors:
                os.close(descriptors.pop(name))
        os.set_blocking(log_read, False)
        status = self._until_end(log_read, descriptors["stop"], started)
        if not self.sandboxed and not self.meter.kill_all():
            raise RuntimeError("some processes of the experiment could not be killed")
        self._drain(log_read)
        error = _read_status(status_read)
        return {
            "exit_code": os.waitstatus_to_exitcode(status),
            "killed": self.killed,
            "hidden_cpu_seconds": self.meter.total - self.meter.reaped,
            "wall_seconds": time.monotonic() - started,
            "peak_memory_mb": self.meter.peak_memory_mb + self.files_mb,
            "error": error.get("line", ""),
            "error_kind": error.get("kind", ""),
            "log": self.log.decode("utf-8", "replace"),
        }

    def _until_end(self, log: int, stop: int, started: float) -> int:
        """Poll until the main process ends; returns its wait status. The worker stops it by closing its end of
        ``stop``, also by its own end."""
        pidfd = os.pidfd_open(self.pid)
        poll = select.poll()
        for descriptor in (pidfd, log, stop):
            poll.register(descriptor, select.POLLIN)
        wait = MIN_LOOK
        while True:
            ready = dict(poll.poll(wait * 1000))
            if self.sandboxed:  # otherwise its files lie on a disk
                self.files_mb = max(self.files_mb, _held_mb(self.request["folder"]))
            if log in ready and not self._drain(log):
                poll.unregister(log)
            if stop in ready:
                self._stop("asked")
                poll.unregister(stop)
            if pidfd in ready:
                ended = self.meter.reap(self.pid, 0)
                return ended[1] if ended else 0
            wait = self._look(time.monotonic() - started)

    def _look(self, wall: float) -> float:
        """Kill the experiment if it exceeds a limit; otherwise the time until it can at the earliest, within bounds."""
        # includes our own CPU time since its start, because reading a flood of output is caused by the experiment
        # in a sandbox the kernel refuses further processes
        pids = [self.pid] if self.sandboxed else metering.descendants()
        used = self.meter.look(pids) + time.process_time() - self.own
        limit, cap = self.request["cpu_limit"], self.request["wall_limit"]
        if used > limit:
            self._stop("cpu")
        elif wall > cap:
            self._stop("wall")
        elif len(pids) > MAX_PROCESSES:
            self._stop("processes")
        else:
            cores = os.cpu_count() or 1
            wait = min((limit - used) / cores, cap - wall, MAX_LOOK)
            return float(max(MIN_LOOK, wait))
        return MIN_LOOK

    def _stop(self, why: str) -> None:
        self.killed = self.killed or why
        os.kill(self.pid, signal.SIGKILL)  # what it started is killed after its end, or ends with its namespace

    def _drain(self, log: int) -> bool:
        """Read available output and keep its end; False when all writers are gone."""
        try:
            data = os.read(log, 1 << 16)
        except BlockingIOError:
            return True
        self.log = (self.log + data)[-LOG_BYTES:]
        return bool(data)


def _read_status(descriptor: int) -> dict[str, str]:
    """The child's error report: of limited length, with only the two known fields."""
    try:
        data = json.loads(os.read(descriptor, 4096) or b"{}")
    except (BlockingIOError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    # only texts, because printing a deeply nested list raises an error, and errors of ours are not charged
    return {key: text[:500] for key in ("kind", "line") if isinstance(text := data.get(key), str)}


def _observe(request: dict[str, Any], descriptors: dict[str, int], root: str, base_bytes: int) -> dict[str, Any]:
    """Run one experiment, from preparing its folder, in a new root in new namespaces or below ``root``, to copying its
    results."""
    if root:
        request |= {"folder": tempfile.mkdtemp(dir=root), "sandboxed": False}
    else:
        namespaces.isolate(request["file_mb"] + 64, training=request["kind"] not in ("predict", "converse"))
        request |= {"folder": namespaces.WORK, "data": namespaces.DATA, "sandboxed": True}
    folder = request["folder"]
    checkpoint = request["checkpoint"] = f"{folder}/checkpoint.pt"
    try:
        with open(descriptors["files"], "rb", closefd=False) as content:
            lay(folder, ((name, content.read(size), 0o644) for name, size in request["files"]))
        if "checkpoint" in descriptors:
            with open(checkpoint, "xb") as target:
                _copy(descriptors["checkpoint"], target.fileno())
        reply = ProcessMonitor(request).run(descriptors, base_bytes)
        if "checkpoint_out" in descriptors:
            reply["artifact"] = _take(checkpoint, descriptors["checkpoint_out"], request["checkpoint_bytes"])
        return reply
    finally:
        if root:  # a sandbox vanishes with its namespaces
            shutil.rmtree(folder, ignore_errors=True)


def _held_mb(folder: str) -> float:
    """The memory that the files of a folder in memory hold, in MiB."""
    held = os.statvfs(folder)
    return (held.f_blocks - held.f_bfree) * held.f_frsize / 2**20


def _take(checkpoint: str, target: int, limit: int) -> str:
    """Copy the checkpoint out; returns an empty string, or why there is no valid checkpoint."""
    try:
        # do not follow a link, and do not block on a FIFO without a writer
        source = os.open(checkpoint, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "train.py wrote no checkpoint"
    except OSError as error:
        return f"the checkpoint cannot be read: {error.strerror}"
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= limit or status.st_nlink != 1:
        return f"the checkpoint is not a regular file of 1 byte to {limit >> 20} MB"
    _copy(source, target)
    return ""


def _copy(source: int, target: int) -> None:
    at, size = 0, os.fstat(source).st_size
    while at < size and (sent := os.sendfile(target, source, at, size - at)):
        at += sent


def main(descriptors: dict[str, int], root: str, candidate: str, base_bytes: int) -> NoReturn:
    """Carry out the request in the file ``request`` and write the reply to the file ``answer``. ``root`` is empty in a
    sandbox; ``candidate``: the filter of an experiment there."""
    order, answer = descriptors.pop("request"), descriptors.pop("answer")
    try:
        request = {**json.loads(os.pread(order, os.fstat(order).st_size, 0)), "filter": candidate}
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        metering.die_with_parent()
        if root:
            metering.become_subreaper()
        reply = _observe(request, descriptors, root, base_bytes)
    except BaseException as error:  # process boundary: the worker reports the reason as our own fault
        reply = {"broken": f"{type(error).__name__}: {error}"[:500]}
    data = json.dumps(reply).encode()
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)
