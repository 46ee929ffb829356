"""The self-test of the sandbox: from inside, nothing of the host may be visible, reachable or changeable."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from trainer.inside.namespaces import DATA, DEVICES

_HOST_PATHS = (
    "/etc/passwd",
    "/home",
    "/root",
    "/var",
    "/metaloop/home",
    "/metaloop/inner",
    "/proc/self",
    "/sys",
    "/bin/sh",
)
_FAMILIES = (1, 2, 10, 16, 17, 40)  # unix, inet, inet6, netlink, packet, vsock


_NEWUSER = 0x10000000


class Hole(Exception):
    """Something succeeded that the sandbox must prevent."""


def _succeeds(action: Callable[..., object], *arguments: object) -> bool:
    try:
        action(*arguments)
    except OSError:
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _ancestors(path: str) -> Iterator[str]:
    while len(path) > 1:
        yield path
        path = os.path.dirname(path)


def holes(request: dict[str, Any]) -> Iterator[str]:
    """One line for each thing that is possible but must not be.

    ``settings``: a ``canary`` (a file of the host), the ``bound`` paths, the names of the ``environment``.
    """
    settings = request["settings"]
    on_the_way = {folder for path in settings["bound"] for folder in _ancestors(path)}
    for path in (*_HOST_PATHS, settings["canary"]):
        if path not in on_the_way and os.path.lexists(path):
            yield f"sees {path}"
    for path in ("/", DATA, os.path.dirname(os.__file__)):
        if os.path.isdir(path) and _succeeds(os.mkdir, f"{path}/written"):
            yield f"writes into {path}"
    for name in DEVICES:
        if _succeeds(os.utime, f"/dev/{name}"):
            yield f"sets the times of /dev/{name}"
    for family in _FAMILIES:
        if _succeeds(socket.socket, family, socket.SOCK_STREAM):
            yield f"opens a socket of family {family}"
    if _succeeds(_fork):
        yield "starts a process"
    if _succeeds(os.sched_setaffinity, 0, {0}):
        yield "chooses its processors"
    if ctypes.CDLL(None).unshare(_NEWUSER) == 0:
        yield "makes namespaces"
    if _succeeds(os.kill, -1, 0):
        yield "signals other processes"
    if strange := sorted(set(os.environ) - set(settings["environment"])):
        yield f"has {', '.join(strange)} in its environment"
    if beyond := [number for number in range(4, 256) if _succeeds(os.fstat, number)]:
        yield f"holds the descriptors {beyond}"
    if os.getuid() == 0 or os.getppid() != 0:
        yield "is root, or sees its parent"


def run(request: dict[str, Any]) -> None:
    """Raises Hole with all findings."""
    if possible := list(holes(request)):
        raise Hole("; ".join(possible))
