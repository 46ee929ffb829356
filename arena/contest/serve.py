"""`metaloop contest serve`: the pages in this process, the queue in another one beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from arena.contest.contest import Contest
from arena.contest.create import refuse_public
from arena.contest.database import Database
from arena.contest.settings import utc_now
from arena.contest.tables import ContestEntry
from programs.errors import EnvironmentProblem, UsageError

Say = Callable[[str], None]
BACKLOG = 1024
CALM_SECONDS = 60.0  # a process that ran for longer is restarted at once
MOST_WAIT = 30.0
CLOCK_SECONDS = 60.0  # tolerance before a slow clock is reported


class Keeper:
    """Keeps the process ``python -m module folder`` running until ``over``; stops it in good order at the end."""

    def __init__(
        self, folder: Path, database: Database, module: str, say: Say, over: Callable[[], bool] = lambda: False
    ) -> None:
        self.folder, self.database, self.module, self.say, self.over = folder, database, module, say, over
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with contextlib.suppress(OSError, SQLAlchemyError):  # the folder may be gone, or the disk full
            if self._process is None or self.database.fact("pulse").get("pid") == self._process.pid:
                (self.folder / "stop").write_text(f"{os.getpid()}\n", encoding="utf-8")
            else:  # it waits for another queue process, which must not be stopped
                self._process.terminate()
        self._thread.join(timeout=MOST_WAIT)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        """Start the process again when it ends. It dies with this thread, which lives as long as the server."""
        wait = 1.0
        while not self._ending.is_set() and not self._over():
            began = time.monotonic()
            command = [sys.executable, "-P", "-m", self.module, str(self.folder), str(os.getpid())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            status = self._process.wait()
            if self._ending.is_set() or self._over():
                break
            wait = 1.0 if time.monotonic() - began > CALM_SECONDS else min(2 * wait, MOST_WAIT)
            self.say(f"the process of {self.module} ended with status {status}; restart in {wait:.0f} s")
            self._ending.wait(wait)

    def _over(self) -> bool:
        try:
            return self.over()
        except (OSError, SQLAlchemyError):  # the queue's process reports a missing folder
            return False


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises EnvironmentProblem."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = addresses[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise EnvironmentProblem(f"{host}:{port}: {error.strerror}", hint="choose another --port") from None
    listening.listen(BACKLOG)
    return listening


def trusted(proxies: str | None) -> str | None:
    """The addresses whose forwarded headers are trusted: those of ``proxies``, separated by commas, and this machine.

    Raises UsageError for what is no address or network.
    """
    if not proxies:
        return None
    names = [name.strip() for name in proxies.split(",")]
    mapped = []  # as a socket for both versions of IP names an address of version 4
    for name in names:
        try:
            if (network := ip_network(name)).version == 4:
                mapped.append(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
        except ValueError:
            hint = "the address from which the proxy connects, such as 172.17.0.1, or a network such as 172.17.0.0/16"
            raise UsageError(f"--proxy {name}: this is no address or network", hint=hint) from None
    return ",".join(["127.0.0.1", *names, *mapped])


def address(host: str, port: int) -> str:
    """The URL of what listens on ``host``. If that is every address, the one by which other machines probably reach
    this one, without asking any of them: a connected UDP socket sends nothing."""
    if host in ("0.0.0.0", "::"):
        outside = ("2001:db8::1" if host == "::" else "192.0.2.1", 9)  # for documentation: nothing is there
        with socket.socket(socket.AF_INET6 if host == "::" else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(outside)
                host = str(probe.getsockname()[0])
            except OSError:  # no network
                host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def warning(host: str, proxies: str | None) -> str:
    """That secrets can be read on the way; empty on this machine alone and behind a proxy."""
    if proxies or host == "localhost" or host.startswith("127.") or host == "::1":
        return ""
    return (
        "over http, tokens can be read on the way: outside a network that you trust, put a proxy with TLS in front "
        '("Behind a proxy with TLS" in docs/contest.md)'
    )


def serve(
    folder: Path,
    host: str,
    port: int,
    say: Say,
    started: Callable[[str], None],
    proxies: str | None = None,
    joins: int | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``started`` is called with the URL. A kill loses no accepted entry. ``joins``: a
    minute from one address."""
    from arena.contest.web.app import create_app
    from arena.contest.web.host import RateLimits
    from arena.contest.web.limits import Rate
    from arena.contest.web.wire import Server, configured

    contest = Contest.open(folder)
    refuse_public(contest.task)
    listening = listen(host, port)
    limits = RateLimits(join=Rate(joins, 60.0)) if joins else RateLimits()
    config = configured(create_app(contest, limits), trusted(proxies), say)
    for problem in clock_problems(contest):
        say(problem)
    keeper = Keeper(contest.folder, contest.database, "arena.contest.work", say, lambda: contest.phase() == "decided")
    with terminated(say), keeper:
        url = address(host, listening.getsockname()[1])
        contest.database.set_fact("address", url=url)  # for the host, once the contest is decided
        started(url)
        Server(config).run(sockets=[listening])


class _Terminated(BaseException):
    """SIGTERM: stop in good order."""


@contextlib.contextmanager
def terminated(say: Say) -> Iterator[None]:
    """A block that SIGTERM leaves in good order."""
    signal.signal(signal.SIGTERM, _ended)  # uvicorn restores this handler and raises the signal again at its end
    try:
        yield
    except _Terminated:
        say("stopped; the same command resumes")


def _ended(*_: object) -> None:
    raise _Terminated


def clock_problems(contest: Contest) -> list[str]:
    """A message if the clock is behind the stored times, which opening and closing depend on."""
    with contest.database.read() as connection:
        last = connection.scalar(select(func.max(ContestEntry.changed_at)))
    ahead = (last - utc_now()).total_seconds() if last else 0.0
    if ahead < CLOCK_SECONDS:
        return []
    return [
        f"this machine's clock is {ahead:.0f} s behind the contest's latest record; opening and closing depend on it"
    ]
