"""The processes of a server: the one that listens, and the one beside it that works on the folder."""

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
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from arena.serving.database import Database
from arena.study.lock import request_stop
from programs.common.errors import Busy, MetaloopError, UsageError
from programs.common.text import one_line, wrapped

Say = Callable[[str], None]
Opened = TypeVar("Opened")
LOG = "log/contest.log"
CALM_SECONDS = 60.0  # a process that ran for longer is restarted at once
MOST_WAIT = 30.0
BUSY_SECONDS = 2.0
NICE = 5  # the pages have priority over the runs, which are charged CPU time, not wall time


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
                request_stop(self.folder)
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
            if status == 0:
                self.say("stopped on request; this server still shows the pages, and goes on when it is started again")
                break
            wait = 1.0 if time.monotonic() - began > CALM_SECONDS else min(2 * wait, MOST_WAIT)
            self.say(f"the process of {self.module} ended with status {status}; restart in {wait:.0f} s")
            self._ending.wait(wait)

    def _over(self) -> bool:
        try:
            return self.over()
        except (OSError, SQLAlchemyError):  # the queue's process reports a missing folder
            return False


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


def say_to_log(folder: Path, text: str) -> None:
    """Write a line to stderr and to the log, the end of which is on the host page."""
    print(wrapped(f"{datetime.now(UTC):%H:%M:%S} {one_line(text)}"), file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the other writes report a full disk
        (folder / LOG).parent.mkdir(exist_ok=True)
        with open(folder / LOG, "a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")


def as_process(
    opened: Callable[[Path], Opened], carry_on: Callable[[Opened, Say], None], waits: str, kept: str
) -> None:
    """The whole of a process that works on the folder ``sys.argv[1]``, after any other that does so has ended.

    ``waits``: said while another one works. ``kept``: what an accident does not lose. It ends with the process whose
    id is ``sys.argv[2]``, if there is one.
    """
    from trainer.inside.metering import die_with_parent

    if sys.argv[2:]:
        die_with_parent()
        if os.getppid() != int(sys.argv[2]):
            return
    os.nice(NICE)
    say = partial(say_to_log, Path(sys.argv[1]))
    try:
        _in_turn(opened(Path(sys.argv[1])), carry_on, say, waits)
    except MetaloopError as error:  # process boundary: the host's log has the reason
        say(f"stopped: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        raise SystemExit(error.exit_code) from None
    except (OSError, SQLAlchemyError) as error:  # the disk is full, or the folder is gone
        say(f"stopped: {in_words(error)} (repair the folder or free the disk; no accepted {kept} is lost)")
        raise SystemExit(1) from None


def _in_turn(project: Opened, carry_on: Callable[[Opened, Say], None], say: Say, waits: str) -> None:
    waited = False
    while True:
        try:
            carry_on(project, say)
            return
        except Busy:
            if not waited:
                say(f"another process {waits}; this server shows the pages and waits for it")
            waited = True
            time.sleep(BUSY_SECONDS)


def in_words(error: Exception) -> str:
    """An error of the operating system or the database in one line."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    return one_line(str(getattr(error, "orig", error)))
