"""A server of a test, on a thread of its own, work in several threads, and waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import HTTPServer


@contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    """Its host and port, while it answers."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def together(count: int, work: Callable[[int], object]) -> None:
    """So many threads work at once, each with its number; what one of them raises is raised."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))


def wait_for(condition: Callable[[], bool], seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
