"""The network access of an agent's sandbox: an HTTP CONNECT proxy outside of it, which reaches allowed hosts only.

It listens on a Unix socket that is bound into the sandbox, which has no network. It answers only ``CONNECT host:port``
(RFC 9110, 9.3.6). It resolves names itself, once, and connects to the address that it checked, so an allowed name
cannot be pointed at this machine or its network. The traffic is the agent's TLS and is not read: the proxy cannot see
which host behind a shared address is used, or what is sent.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from inner_loop.gateway.serving import LocalHandler, LocalServer, RequestRefused
from programs.errors import UsageError

_CONNECT_SECONDS = 15.0
_CHUNK = 1 << 16
_REMEMBERED = 1000
_RULE = re.compile(r"(?P<host>(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_TARGET = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):([0-9]{1,5})")
_NAT64, _UNICAST = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2000::/3")


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

    host: str = ""
    port: int = 0
    refused: str = ""
    sent: int = 0
    received: int = 0


class AgentProxy(LocalServer):
    """``requests``: the last thousand that have ended."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.rules = tuple(Rule.parse(host) for host in hosts)
        self.requests: deque[ProxyRequest] = deque(maxlen=_REMEMBERED)
        super().__init__(_Tunnel)

    def connected(self, host: str, port: int) -> socket.socket:
        """A connection to an allowed host; RequestRefused if it is not allowed or not reachable."""
        if not any(rule.allows(host, port) for rule in self.rules):
            raise RequestRefused(403, f"{host}:{port} is not among the allowed hosts")
        for address in _addresses(host, port):
            with suppress(OSError):
                return socket.create_connection((address, port), _CONNECT_SECONDS)
        raise RequestRefused(502, f"no answer from {host}:{port}")


class _Tunnel(LocalHandler):
    timeout = _CONNECT_SECONDS
    server: AgentProxy

    def do_CONNECT(self) -> None:
        request = ProxyRequest()
        try:
            match = _TARGET.fullmatch(self.path.lower())
            if match is None:
                raise RequestRefused(400, "invalid request: CONNECT takes HOST:PORT")
            request = ProxyRequest(match[1].strip("[]").rstrip("."), int(match[2]))
            there = self.server.connected(request.host, request.port)
        except RequestRefused as refused:
            self._refuse(request, refused)
            return
        self.close_connection = True
        counts = [0, 0]
        with there:
            self.server.connections.add(there)
            for end in (there, self.connection):
                end.settimeout(None)
            self.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(there.recv, self.connection, counts, 1), daemon=True)
            back.start()
            _pump(self.rfile.read1, there, counts, 0)  # it may have read ahead
            back.join()
            self.server.connections.discard(there)
        self.server.requests.append(replace(request, sent=counts[0], received=counts[1]))

    def send_error(self, code: int, message: str | None = None, explain: Any = None) -> None:
        """The library's answer to another method, or to what is no HTTP."""
        self._refuse(ProxyRequest(), RequestRefused(405, f"only CONNECT is allowed: {message}"))

    def _refuse(self, request: ProxyRequest, refused: RequestRefused) -> None:
        self.server.requests.append(replace(request, refused=str(refused)))
        self.answer(refused.status, f"metaloop: {refused}\n".encode(), {})


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a host; all must be public unless a rule names the address itself."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestRefused(502, f"{host} has no address") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if private := [address for address in addresses if not is_public(address)]:
        raise RequestRefused(403, f"{host} resolves to {private[0]}, which is not a public address")
    return addresses


def is_public(text: str) -> bool:
    """Whether an address is public; of those with an IPv4 address in them, only NAT64's are. Of IPv6 only 2000::/3 is
    given to networks (IANA, IPv6 address space)."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        elif address not in _UNICAST or address.sixtofour or address.teredo:
            return False
    return address.is_global and not address.is_multicast


def _pump(read: Callable[[int], bytes], end: socket.socket, counts: list[int], which: int) -> None:
    """Copy one direction until its end, counting."""
    how = socket.SHUT_WR
    try:
        while data := read(_CHUNK):
            counts[which] += len(data)
            end.sendall(data)
    except OSError:
        how = socket.SHUT_RDWR  # which ends the other direction, too
    with suppress(OSError):
        end.shutdown(how)
