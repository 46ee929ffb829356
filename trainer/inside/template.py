"""The warm template: a process that has imported torch, and forks one child per experiment.

Started by `trainer.launcher.LocalLauncher`. It speaks lines of JSON over one socket: a request in, a reply out,
one experiment at a time. It never reads a source. When the worker's end of the socket closes, it kills what runs,
removes the work folders and leaves.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from typing import Any

from trainer.inside import child, hugepages, metering

LOG_BYTES = 16_384  # kept of an experiment's output, from its end
MAX_PROCESSES = 64  # descendants of one experiment; more is a fork bomb
MIN_LOOK, MAX_LOOK, SCAN_EVERY = (
    0.002,
    0.25,
    0.05,
)  # seconds between two looks at the clocks; between two scans


def warm() -> None:
    """Import torch and run a step of each kind, so that no child pays for what torch does at first use."""
    import io

    import torch
    from torch import nn

    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 4))
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        optimizer = kind(model.parameters(), lr=0.01)
        loss: Any = nn.functional.cross_entropy(model(torch.randn(4, 8)), torch.zeros(4, dtype=torch.long))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.load(file, weights_only=True)


class Watch:
    """Watches one forked experiment until it ends or crosses a line."""

    def __init__(self, request: dict[str, Any], control: socket.socket) -> None:
        self.request = request
        self.control = control
        self.meter = metering.Meter()
        self.log = b""
        self.killed = ""

    def run(self, base_bytes: int) -> dict[str, Any]:
        """Fork, watch, clean up; the reply as the launcher reads it."""
        started, own = time.monotonic(), time.process_time()
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            child.main(self.request, log_write, status_write, base_bytes)
        os.close(log_write)
        os.close(status_write)
        os.set_blocking(log_read, False)
        try:
            status = self._until_end(pid, log_read, started)
            if not self.meter.kill_all():
                raise RuntimeError("some processes of the experiment could not be killed")
            self._drain(log_read)
            error = _read_status(status_read)
        finally:
            os.close(log_read)
            os.close(status_read)
        return {
            "exit_code": os.waitstatus_to_exitcode(status),
            "killed": self.killed,
            "cpu_seconds": self.meter.total + time.process_time() - own,
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
        for descriptor in (pidfd, log, self.control.fileno()):
            poll.register(descriptor, select.POLLIN)
        scanned, wait = started, MIN_LOOK
        try:
            while True:
                ready = dict(poll.poll(wait * 1000))
                if self.control.fileno() in ready:
                    raise ConnectionResetError("the worker is gone")
                if log in ready and not self._drain(log):
                    poll.unregister(log)
                if pidfd in ready:
                    ended = self.meter.reap(pid, 0)
                    return ended[1] if ended else 0
                now = time.monotonic()
                scan = now - scanned > SCAN_EVERY
                scanned = now if scan else scanned
                wait = self._look(pid, scan, now - started)
        finally:
            os.close(pidfd)

    def _look(self, pid: int, scan: bool, wall: float) -> float:
        """Kill what is over a line; else the time until a line can be crossed at the earliest, bounded."""
        used = self.meter.look(pid, scan=scan)
        limit, cap = self.request["cpu_limit"], self.request["wall_limit"]
        if used > limit:
            self.killed = "cpu"
        elif wall > cap:
            self.killed = "wall"
        elif len(self.meter.tree.mine) > MAX_PROCESSES:
            self.killed = "processes"
        else:
            cores = os.cpu_count() or 1
            wait = min((limit - used) / cores, cap - wall, MAX_LOOK)
            return float(max(MIN_LOOK, wait))
        os.killpg(pid, signal.SIGKILL)
        return MIN_LOOK

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
    except (BlockingIOError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {key: str(data.get(key, ""))[:500] for key in ("kind", "line")}


def _mapped_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


def serve(control: socket.socket) -> None:
    """Answer requests until the worker says bye; ConnectionResetError if it vanishes without."""
    base = _mapped_bytes()
    lines = control.makefile("rb")
    control.sendall(json.dumps({"ready": os.getpid()}).encode() + b"\n")
    while (line := lines.readline()) != b"bye\n":
        if not line:
            raise ConnectionResetError("the worker is gone")
        reply = Watch(json.loads(line), control).run(base)
        control.sendall(json.dumps(reply).encode() + b"\n")


def main(descriptor: int, worker: int, root: str) -> None:
    """``descriptor`` is our end of the socket, ``worker`` the process that started us, ``root`` the work folders."""

    def parent_died(*_: object) -> None:
        if os.getppid() != worker:  # it was the process that ended, not just the thread that started us
            metering.Meter().kill_all()
            shutil.rmtree(root, ignore_errors=True)
            os._exit(1)

    signal.signal(signal.SIGTERM, parent_died)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    metering.die_with_parent(signal.SIGTERM)
    parent_died()  # in case it died before we asked to be told
    metering.become_subreaper()
    warm()
    gc.collect()
    gc.freeze()
    hugepages.collapse()
    try:
        serve(socket.socket(fileno=descriptor))
    except ConnectionError:
        metering.Meter().kill_all()
        shutil.rmtree(root, ignore_errors=True)  # nobody else is left to do it
    finally:
        metering.Meter().kill_all()
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
