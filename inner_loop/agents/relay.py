"""Runs inside an agent's sandbox, before and beside the agent: sets its limits, starts it, relays its connections.

It uses only the standard library; `inner_loop.agents.view` puts its text into the sandbox: ``python -I -S -B start.py
ORDER``. ORDER is a JSON file: ``command``, ``environment``, ``folder``, ``limits`` (names of resource.RLIMIT_* without
the prefix), ``ready`` (a descriptor to write to when the sandbox is ready), ``proxy`` (the path of a Unix socket, or
null) and ``relays`` (paths of Unix sockets, each with its port). Without proxy and relays the agent replaces this
process.

Otherwise this process listens on 127.0.0.1, passes each connection on to its socket, and exits with the agent's exit
code, or 128 plus the number of the signal that ended it. It cannot be traced. Nothing outside trusts it: the agent may
kill it and use the sockets directly, where the same proxy and gateway answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_NOT_FOUND, _NOT_STARTED = 127, 126  # a shell's exit codes
_CHUNK = 1 << 16
_SET_DUMPABLE = 4  # prctl(2)


def main(path: str) -> int:
    with open(path, "rb") as file:
        order = json.loads(file.read())
    _close_others(order["ready"])
    for name, limit in order["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    os.chdir(order["folder"])
    os.write(order["ready"], b"1")
    os.close(order["ready"])
    if order["proxy"] is None and not order["relays"]:
        _become(order["command"], order["environment"])
    import asyncio

    return asyncio.run(_supervise(order["command"], order["environment"], order["proxy"], order["relays"]))


def _close_others(kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


def _become(command: list[str], environment: dict[str, str]) -> None:
    """Turn into the command. Python ignores two signals, which programs do not expect."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED)


async def _supervise(command: list[str], environment: dict[str, str], proxy: str | None, relays: dict[str, int]) -> int:
    """Relay while the command runs; returns its exit code."""
    import asyncio
    import ctypes

    # not to be traced by the agent's processes, which have its uid; they themselves start as programs do
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    servers = [await _listen(path, port) for path, port in relays.items()]
    more: dict[str, str] = {}
    if proxy is not None:
        servers.append(await _listen(proxy, 0))
        address = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        more |= dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), address)
        more |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1")
    child = os.fork()
    if child == 0:
        _become(command, environment | more)
    ended = asyncio.Event()
    handle = os.pidfd_open(child)
    asyncio.get_running_loop().add_reader(handle, ended.set)
    await ended.wait()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)  # what is still being relayed ends with the agent


async def _listen(path: str, port: int) -> asyncio.Server:
    """Pass each connection to a port of 127.0.0.1 (0: any) on to the socket at a path."""
    import asyncio

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, out = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, out), _pump(there, writer))
        out.close()  # else a side that has hung up would be sent to for ever
        writer.close()

    return await asyncio.start_server(relay, "127.0.0.1", port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, and close the other side's input."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
