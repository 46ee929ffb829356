"""Runs inside an agent's sandbox, before and beside the agent: sets its limits, starts it, relays its connections.

It uses only the standard library; `inner_loop.agents.view` puts its text into the sandbox: ``python -I -S -B start.py
ORDER``. ORDER is a JSON file: ``command``, ``environment``, ``folder``, ``limits`` (names of resource.RLIMIT_* without
the prefix), ``ready`` (a descriptor to write to when the sandbox is ready) and ``relays`` (paths of Unix sockets, each
with its port). Without relays the agent replaces this process.

Otherwise this process listens on 127.0.0.1, passes each connection on to its socket, and exits with the agent's exit
code, or 128 plus the number of the signal that ended it. It cannot be traced. Nothing outside trusts it: the agent may
kill it and use the sockets directly, where the same proxy and gateway answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import threading
from typing import NoReturn

_NOT_FOUND, _NOT_STARTED = 127, 126  # a shell's exit codes
_CHUNK = 1 << 16
_SET_DUMPABLE = 4  # prctl(2)


def main(path: str) -> NoReturn:
    with open(path, "rb") as file:
        order = json.loads(file.read())
    _close_others(order["ready"])
    for name, limit in order["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    os.chdir(order["folder"])
    os.write(order["ready"], b"1")
    os.close(order["ready"])
    if order["relays"]:
        _supervise(order["command"], order["environment"], order["relays"])
    _become(order["command"], order["environment"])


def _close_others(kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Turn into the command. Python ignores two signals, which programs do not expect."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED)


def _supervise(command: list[str], environment: dict[str, str], relays: dict[str, int]) -> NoReturn:
    """Relay while the command runs, and exit as it does."""
    import ctypes

    # not to be traced by the agent's processes, which have its uid; they themselves start as programs do
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    servers = [(socket.create_server(("127.0.0.1", port), backlog=128), path) for path, port in relays.items()]
    child = os.fork()
    if child == 0:
        _become(command, environment)
    for each in servers:
        threading.Thread(target=_serve, args=each, daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)  # what is still being relayed ends with the agent


def _serve(server: socket.socket, path: str) -> None:
    """Pass each connection on to the socket at a path."""
    while True:
        here, _ = server.accept()
        there = socket.socket(socket.AF_UNIX)
        try:
            there.connect(path)
            for ends in ((here, there), (there, here)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()
        except (OSError, RuntimeError):  # as many threads as it may have
            _hang_up(here, there)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction until its end, and close the other side's input."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(1)
    except OSError:
        _hang_up(source, target)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        try:
            end.shutdown(2)
        except OSError:
            continue  # it has hung up itself


if __name__ == "__main__":
    main(sys.argv[1])
