"""A project served over HTTP, and requests to it."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from arena.home.project import Project
from arena.home.server import create_app
from arena.serving.limits import Rate
from arena.serving.wire import Server


@contextmanager
def serving(project: Project, rate: Rate | None = None) -> Iterator[str]:
    """Its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(create_app(project, rate), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "an open page keeps the host from ending"


def get(url: str, body: bytes | None = None, length: int | None = None, token: str = "") -> tuple[int, str]:
    """Status and text of a reply. `length` is what the header says of the body, where it is not its length."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {} if length is None else {"Content-Length": str(length)}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=200) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
