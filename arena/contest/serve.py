"""`metaloop contest serve`: the pages in this process, the queue in another one beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from arena.contest.contest import Contest
from programs.errors import EnvironmentProblem

Say = Callable[[str], None]
BACKLOG = 1024
CALM_SECONDS = 60.0  # a worker that lived so long starts again at once
MOST_WAIT = 30.0


class Keeper:
    """Keeps the process that carries the queue out alive; drains it at the end."""

    def __init__(self, contest: Contest, say: Say) -> None:
        self.contest, self.say = contest, say
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        (self.contest.folder / "stop").write_text(f"{os.getpid()}\n", encoding="utf-8")
        self._thread.join(timeout=MOST_WAIT)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        """The process dies with the thread that started it: this one, which lives as long as the server."""
        wait = 1.0
        while not self._ending.is_set() and self.contest.phase() != "decided":
            began = time.monotonic()
            command = [sys.executable, "-P", "-m", "arena.contest.work", str(self.contest.folder), str(os.getpid())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            status = self._process.wait()
            if self._ending.is_set() or self.contest.phase() == "decided":
                break
            wait = 1.0 if time.monotonic() - began > CALM_SECONDS else min(2 * wait, MOST_WAIT)
            self.say(f"the queue's process ended with status {status}; again in {wait:.0f} s")
            self._ending.wait(wait)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is ours before anything is promised. Raises EnvironmentProblem."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise EnvironmentProblem(f"{host}:{port}: {error.strerror}", hint="choose another --port") from None
    listening.listen(BACKLOG)
    return listening


def serve(folder: Path, host: str, port: int, say: Say, started: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is told the address. A kill loses nothing that was accepted."""
    import uvicorn

    from arena.contest.web.app import create_app
    from arena.contest.web.wire import configured

    contest = Contest.open(folder)
    listening = listen(host, port)
    config = configured(create_app(contest))
    shown = f"[{host}]" if ":" in host else host
    with Keeper(contest, say):
        started(f"http://{shown}:{listening.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listening])
