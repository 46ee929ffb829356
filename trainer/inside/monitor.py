"""The monitor: a fork of the template that lives for one experiment. It gives the experiment its place, watches it,
kills it at its lines, and takes out what it made.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from typing import Any, NoReturn

from trainer.inside import child, metering, packing
from trainer.inside.experiment_folder import COMPILED_MB, ExperimentFolder

LOG_BYTES = 16_384  # kept of an experiment's output, from its end
MAX_PROCESSES = 64  # descendants of one experiment outside a sandbox; more is a fork bomb. Inside there is one.
MIN_LOOK, MAX_LOOK = 0.002, 0.25  # seconds between two looks at the clocks
SCAN_EVERY = 0.05  # seconds between two looks for further processes


class ProcessMonitor:
    """Watches one forked experiment until it ends or crosses a line."""

    def __init__(self, request: dict[str, Any], work: ExperimentFolder) -> None:
        self.request = request
        self.work = work
        self.meter = metering.CpuMeter()
        self.log = b""
        self.killed = ""
        self.pid = 0
        self.own = 0.0  # CPU-seconds of this process before it watched
        signal.signal(signal.SIGTERM, lambda *_: self._stop("asked"))

    def run(self, descriptors: dict[str, int], base_bytes: int) -> dict[str, Any]:
        """Fork, watch, clean up; most of the reply as the launcher reads it."""
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        started = time.monotonic()
        self.own = time.process_time()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            given = {name: descriptors[name] for name in child.PASSED if name in descriptors}
            child.main(self.request, self.work, given | {"log": log_write, "status": status_write}, base_bytes)
        self.pid = pid
        if self.killed:  # asked for before there was anything to stop
            self._stop(self.killed)
        os.close(log_write)
        os.close(status_write)
        for name in child.PASSED:  # so that whoever talks to the experiment notices its end
            if name in descriptors:
                os.close(descriptors.pop(name))
        os.set_blocking(log_read, False)
        status = self._until_end(pid, log_read, started)
        if not self.work.sandboxed and not self.meter.kill_all():
            raise RuntimeError("some processes of the experiment could not be killed")
        self._drain(log_read)
        error = _read_status(status_read)
        return {
            "exit_code": os.waitstatus_to_exitcode(status),
            "killed": self.killed,
            "hidden_cpu_seconds": self.meter.total - self.meter.reaped,
            "wall_seconds": time.monotonic() - started,
            "peak_memory_mb": self.meter.peak_memory_mb,
            "error": error.get("line", ""),
            "error_kind": error.get("kind", ""),
            "log": self.log.decode("utf-8", "replace"),
        }

    def _until_end(self, pid: int, log: int, started: float) -> int:
        """Poll until the main process ends; returns its wait status."""
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        for descriptor in (pidfd, log):
            poll.register(descriptor, select.POLLIN)
        scanned, wait = started, MIN_LOOK
        while True:
            ready = dict(poll.poll(wait * 1000))
            if log in ready and not self._drain(log):
                poll.unregister(log)
            if pidfd in ready:
                ended = self.meter.reap(pid, 0)
                return ended[1] if ended else 0
            now = time.monotonic()
            # inside a sandbox the kernel refuses further processes
            scan = not self.work.sandboxed and now - scanned > SCAN_EVERY
            scanned = now if scan else scanned
            wait = self._look(pid, scan, now - started)

    def _look(self, pid: int, scan: bool, wall: float) -> float:
        """Kill what is over a line; else the time until a line can be crossed at the earliest, bounded."""
        # with our own since its start: what we read of its flood of output is its work too
        used = self.meter.look(pid, scan=scan) + time.process_time() - self.own
        limit, cap = self.request["cpu_limit"], self.request["wall_limit"]
        if used > limit:
            self._stop("cpu")
        elif wall > cap:
            self._stop("wall")
        elif len(self.meter.tree.mine) > MAX_PROCESSES:
            self._stop("processes")
        elif self.work.device and self._held(pid) > self.request["memory_mb"]:
            self._stop("memory")
        else:
            cores = os.cpu_count() or 1
            wait = min((limit - used) / cores, cap - wall, MAX_LOOK)
            return float(max(MIN_LOOK, wait))
        return MIN_LOOK

    def _held(self, pid: int) -> float:
        """Memory of all its processes, MiB: no limit of addresses holds it here, and a cgroup is not everywhere."""
        return metering.private_mb(metering.listed() if self.work.sandboxed else self.meter.tree.mine | {pid})

    def _stop(self, why: str) -> None:
        self.killed = self.killed or why
        if self.pid:
            with suppress(ProcessLookupError):
                (os.kill if self.work.sandboxed else os.killpg)(self.pid, signal.SIGKILL)

    def _drain(self, log: int) -> bool:
        """Read what is there of the output and keep its end; False once all writers are gone."""
        try:
            data = os.read(log, 1 << 16)
        except BlockingIOError:
            return True
        self.log = (self.log + data)[-LOG_BYTES:]
        return bool(data)


def _read_status(descriptor: int) -> dict[str, str]:
    """What the child said of its error: bounded, and only the two known texts."""
    try:
        data = json.loads(os.read(descriptor, 4096) or b"{}")
    except (BlockingIOError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    # texts alone: to print a list that is nested deep enough is an error, and an error of ours costs its cause nothing
    return {key: text[:500] for key in ("kind", "line") if isinstance(text := data.get(key), str)}


def _observe(request: dict[str, Any], descriptors: dict[str, int], root: str, base_bytes: int) -> dict[str, Any]:
    """One experiment from its place to what it left behind."""
    work = ExperimentFolder.make(request, root)
    try:
        work.fill(request, descriptors)
        reply = ProcessMonitor(request, work).run(descriptors, base_bytes)
        if "checkpoint_out" in descriptors:
            reply["artifact"] = work.take(descriptors["checkpoint_out"], request["checkpoint_bytes"])
        if "compiled_out" in descriptors and work.compiled.is_dir():  # asked for of a trusted source alone
            packing.pack(str(work.compiled), descriptors["compiled_out"], COMPILED_MB << 20)
        return reply
    finally:
        work.remove()


def main(request: dict[str, Any], descriptors: dict[str, int], root: str, answer: int, base_bytes: int) -> NoReturn:
    """Carry out one request and write the reply into ``answer``. ``root`` is empty in a sandbox."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        metering.die_with_parent()
        if root:
            metering.become_subreaper()
        reply = _observe(request, descriptors, root, base_bytes)
    except BaseException as error:  # process boundary: the reason travels to the worker as our own fault
        reply = {"broken": f"{type(error).__name__}: {error}"[:500]}
    data = json.dumps(reply).encode()
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)
