"""The network access of an agent's sandbox: an HTTP CONNECT proxy outside of it, which reaches allowed hosts only.

It listens on a Unix socket that is bound into the sandbox, which has no network. It answers only ``CONNECT host:port``
(RFC 9110, 9.3.6). It resolves names itself, once, and connects to the address that it checked, so an allowed name
cannot be pointed at this machine or its network. The traffic is the agent's TLS and is not read: the proxy cannot see
which host behind a shared address is used, or what is sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from programs.closing import Closing
from programs.errors import EnvironmentProblem, UsageError
from programs.text import word_list

#: The APIs that coding agents talk to, and where they renew their logins.
LLM_HOSTS = word_list("""
    api.anthropic.com console.anthropic.com platform.claude.com api.openai.com auth.openai.com chatgpt.com
    generativelanguage.googleapis.com cloudcode-pa.googleapis.com oauth2.googleapis.com openrouter.ai api.mistral.ai
    api.deepseek.com api.groq.com api.x.ai
""")

_HEAD_BYTES, _HEAD_SECONDS = 8192, 10.0
_CONNECT_SECONDS = 15.0
_CONNECTIONS = 64
_CHUNK = 1 << 16
_REMEMBERED = 1000
_RULE = re.compile(r"(?P<host>(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_HEAD = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5}) HTTP/1\.[01]\r\n")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Rule:
    """``host``, ``*.suffix`` (names below it, not itself) or an address, with ``:port`` unless it is 443.

    A rule with an address is the only way to reach one that is not public.
    """

    host: str
    port: int = 443

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _RULE.fullmatch(text.strip().lower())
        if match is None or int(match["port"] or 443) > 65535:
            raise UsageError(f"{text!r} is not a host", hint="api.example.com, *.example.com, or with :PORT")
        return cls(match["host"].strip("[]"), int(match["port"] or 443))

    def allows(self, host: str, port: int) -> bool:
        if port != self.port:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


@dataclass(frozen=True)
class ProxyRequest:
    """One request: target, reason of refusal (empty if allowed), bytes ``sent`` by the agent and ``received``."""

    host: str
    port: int
    refused: str = ""
    sent: int = 0
    received: int = 0


class _Refused(Exception):
    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class AgentProxy(Closing):
    """A thread that serves ``socket`` until `close`. ``requests``: the last thousand that have ended."""

    def __init__(self, hosts: Iterable[str] = LLM_HOSTS) -> None:
        self.rules = tuple(Rule.parse(host) for host in hosts)
        self.requests: deque[ProxyRequest] = deque(maxlen=_REMEMBERED)
        self._folder = Path(tempfile.mkdtemp(prefix="metaloop-proxy-"))  # mode 700
        self.socket = self._folder / "socket"
        self._failure = ""
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agent-proxy", daemon=True)
        self._thread.start()
        self._ready.wait()
        if not self.socket.exists():
            self.close()
            hint = "TMPDIR must be a short, writable path"  # a socket's path has 107 bytes at most
            raise EnvironmentProblem(f"{self.socket}: {self._failure}", hint=hint)

    def close(self) -> None:
        """Cut all connections and remove the socket."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failure = str(error)
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._answer, str(self.socket), limit=_HEAD_BYTES)
        os.chmod(self.socket, 0o666)  # the folder keeps others out; the agent's uid is not ours
        self._ready.set()
        async with server:
            await self._stop.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the agent."""
        self._open += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._tunnel(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = ProxyRequest("", 0)
        try:
            if self._open > _CONNECTIONS:
                raise _Refused("503 Service Unavailable", f"more than {_CONNECTIONS} connections")
            request = await _request(reader)
            there, out = await self._connect(request.host, request.port)
        except _Refused as refused:
            self.requests.append(replace(request, refused=str(refused)))
            text = f"metaloop: {refused}\n".encode()
            head = f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + text)
            await writer.drain()
            return
        counts = [0, 0]
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, out, counts, 0), _pump(there, writer, counts, 1))
        finally:
            out.close()
            self.requests.append(replace(request, sent=counts[0], received=counts[1]))

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to an allowed host; _Refused if it is not allowed or not reachable."""
        if not any(rule.allows(host, port) for rule in self.rules):
            raise _Refused("403 Forbidden", f"{host}:{port} is not among the allowed hosts")
        for address in await self._addresses(host, port):
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT_SECONDS)
        raise _Refused("502 Bad Gateway", f"no answer from {host}:{port}")

    async def _addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host; all must be public unless a rule names the address itself."""
        with suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        try:
            entries = await asyncio.wait_for(self._loop.getaddrinfo(host, port, type=1), _CONNECT_SECONDS)
        except (OSError, TimeoutError, UnicodeError):
            raise _Refused("502 Bad Gateway", f"{host} has no address") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        if private := [address for address in addresses if not is_public(address)]:
            raise _Refused("403 Forbidden", f"{host} resolves to {private[0]}, which is not a public address")
        return addresses


def is_public(text: str) -> bool:
    """Whether an address is public, including addresses embedded in it (mapped, 6to4, Teredo, NAT64)."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner: list[ipaddress.IPv4Address] = []
    if isinstance(address, ipaddress.IPv6Address):
        inner = [part for part in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if part]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.ipv4_mapped:
            return is_public(str(address.ipv4_mapped))
    return address.is_global and not address.is_multicast and all(is_public(str(part)) for part in inner)


async def _request(reader: asyncio.StreamReader) -> ProxyRequest:
    """The host, in lower case and without a final dot, and the port of a CONNECT; its headers are dropped."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        raise _Refused("400 Bad Request", "invalid request") from None
    match = _HEAD.match(head)
    if match is None:
        method = head.split(b" ", 1)[0][:16].decode("ascii", "replace")
        raise _Refused("405 Method Not Allowed", f"only CONNECT is allowed, not {method!r}")
    return ProxyRequest(match[1].decode().lower().strip("[]").rstrip("."), int(match[2]))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: list[int], which: int) -> None:
    """Copy one direction until its end, counting."""
    try:
        while data := await reader.read(_CHUNK):
            counts[which] += len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
