"""The warm template: a process that has imported torch or NumPy and forks one monitor per experiment.

`trainer.sandbox.local.LocalLauncher` starts it, in the outer sandbox if there is one. It receives one request at a time
through a socket and never reads a source. When the worker closes the socket, it kills its processes and exits.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import site
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from trainer.inside import metering, monitor, namespaces, pages, seccomp, shown_files, wire


def warm() -> None:
    """Import torch and run a step of each kind, so that no child pays for torch's initialisation at first use."""
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


def _mapped_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


class Template:
    """Answers the requests of one worker. ``root``: the parent of work folders, empty in a sandbox; ``candidate``: the
    filter of an experiment there."""

    def __init__(self, control: socket.socket, root: str, candidate: str) -> None:
        self.control, self.root, self.candidate = control, root, candidate
        self.base_bytes = _mapped_bytes()

    def serve(self) -> None:
        """Answer requests until the worker closes the socket."""
        wire.send(self.control, {"ready": os.getpid()})
        while (request := wire.receive(self.control)) is not None:
            wire.send(self.control, self._carry_out(request[1]))

    def _carry_out(self, descriptors: dict[str, int]) -> dict[str, Any]:
        """Fork a monitor and wait for its end; returns its status, and the CPU-seconds of all processes.

        The monitor reads the file ``request`` and answers the worker in the file ``answer``. Here both would stay in
        memory that all later experiments inherit, with what this one has printed.
        """
        own, meter = time.process_time(), metering.CpuMeter()
        pid = os.fork()
        if pid == 0:
            self.control.close()
            monitor.main(descriptors, self.root, self.candidate, self.base_bytes)
        for descriptor in descriptors.values():
            os.close(descriptor)
        ended = meter.reap(pid, 0)
        reply: dict[str, Any] = {"status": ended[1] if ended else 0}
        if self.root and not meter.kill_all():
            reply = {"broken": "some processes of the experiment could not be killed"}
        return {**reply, "cpu_seconds": meter.total + time.process_time() - own}


def main(descriptor: int, settings: dict[str, Any]) -> None:
    """Run the template. ``descriptor`` is our end of the socket. ``settings``: root, the worker's pid, torch (import
    it, otherwise NumPy), filter and wall (filters of system calls, hexadecimal)."""
    root, worker = settings["root"], settings["worker"]
    if not root:
        shown_files.copy(settings["shown"], namespaces.INNER)
        namespaces.seal()

    def end() -> None:
        """Of a sandbox the kernel ends all with this process, the init of its namespace."""
        if root:
            metering.CpuMeter().kill_all()
            shutil.rmtree(root, ignore_errors=True)  # the worker may be gone and cannot do it
        os._exit(0)

    def parent_died(*_: object) -> None:
        if not root or os.getppid() != worker:  # the process has ended, not only the thread that started us
            end()

    signal.signal(signal.SIGTERM, parent_died)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    metering.die_with_parent(signal.SIGTERM if root else signal.SIGKILL)
    if root:
        parent_died()  # in case it died before the signal was requested
        metering.become_subreaper()
        metering.descendants()  # imported before the forks
    site.setquit()  # defines exit() for scripts, which an interpreter without site lacks
    gc.disable()  # what is imported stays: looking through it for garbage took a fifth of the time
    if settings["torch"]:
        warm()
    else:
        with suppress(ModuleNotFoundError):  # the check of the sandbox needs no packages
            import numpy  # noqa: F401
    if not root:
        seccomp.load(bytes.fromhex(settings["wall"]))
    gc.freeze()
    gc.enable()
    pages.collapse()
    if not root:
        for name in ("bz2", "hashlib", "lzma", "sqlite3"):  # whose libraries no experiment sees
            with suppress(ImportError):
                importlib.import_module(name)
        shown_files.keep(namespaces.INNER + namespaces.DATA)
        pages.populate()
    try:
        Template(socket.socket(fileno=descriptor), root, settings["filter"]).serve()
    finally:
        end()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
