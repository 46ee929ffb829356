"""The way out of a sandbox reaches what is allowed and nothing else, counts it and remembers what was asked."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from inner_loop.agents.proxy import AgentProxy, ProxyRequest, Rule, is_public
from programs.errors import EnvironmentProblem, UsageError


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server on 127.0.0.1 that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(one: socket.socket) -> None:
        with one, suppress(OSError):
            while data := one.recv(1 << 16):
                one.sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def ask(proxy: AgentProxy, request: bytes, payload: bytes = b"") -> bytes:
    """The whole answer to a request, and to a payload once the request is granted."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(100)
        client.connect(str(proxy.path))
        client.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (data := client.recv(1 << 16)):
            answer += data
        if answer.startswith(b"HTTP/1.1 200"):
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
        while data := client.recv(1 << 16):
            answer += data
    return answer


def connect(host: str, port: int = 443) -> bytes:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


def test_an_allowed_target_is_reached_and_the_bytes_are_counted(echo: int) -> None:
    with AgentProxy([f"127.0.0.1:{echo}"]) as proxy:
        answer = ask(proxy, connect("127.0.0.1", echo), b"x" * 200_000)
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"x" * 200_000)
    assert [*proxy.requests] == [ProxyRequest("127.0.0.1", echo, sent=200_000, received=200_000)]


def test_what_is_refused_is_told_and_remembered(echo: int) -> None:
    requests = {
        connect("example.com"): (b"403", "not among the allowed hosts"),
        connect("127.0.0.1", echo): (b"403", "not among the allowed hosts"),  # allowed with another port
        connect("localhost", echo): (b"403", "not a public address"),  # a name that leads to this machine
        connect("api.openai.com", 22): (b"403", "not among"),
        connect("127.0.0.1", 443): (b"502", "no answer from"),
        f"GET http://127.0.0.1:{echo}/ HTTP/1.1\r\n\r\n".encode(): (b"405", "only CONNECT"),
        b"\x16\x03\x01 not http \r\n\r\n": (b"405", "only CONNECT"),
        b"CONNECT " + b"a" * 9000 + b":443 HTTP/1.1\r\n\r\n": (b"400", "invalid request"),
        b"CONNECT 127.0.0.1@evil:443 HTTP/1.1\r\n\r\n": (b"400", "invalid request"),
        b"CONNECT " + b"a" * 70_000 + b":443 HTTP/1.1\r\n\r\n": (b"405", "only CONNECT"),
    }
    with AgentProxy(["api.openai.com", "127.0.0.1", f"localhost:{echo}"]) as proxy:
        for request, (status, reason) in requests.items():
            answer = ask(proxy, request)
            assert answer.split()[1] == status, request
            assert reason in answer.decode() and reason in proxy.requests[-1].refused
    assert len(proxy.requests) == len(requests)


def test_rules_are_exact_names_names_below_a_suffix_and_ports() -> None:
    assert Rule.parse("API.example.com").allows("api.example.com", 443)
    assert not Rule.parse("example.com").allows("api.example.com", 443)
    assert not Rule.parse("example.com").allows("example.com", 80)
    below = Rule.parse("*.example.com:8443")
    assert below.allows("a.b.example.com", 8443)
    assert not below.allows("example.com", 8443) and not below.allows("evilexample.com", 8443)
    assert Rule.parse("[::1]:443").allows("::1", 443)
    for wrong in ("", "*", "http://example.com", "a b", "example.com:99999", "*.", "ex*mple.com"):
        with pytest.raises(UsageError, match="is not a host"):
            Rule.parse(wrong)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
     "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1", "::",
     "fe80::1%eth0", "fec0::1", "::7f00:1", "64:ff9b:1::7f00:1"],
)  # fmt: skip
def test_addresses_of_this_machine_and_its_network_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are() -> None:
    assert all(is_public(address) for address in ("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"))


def test_connections_are_bounded_and_closing_cuts_them(echo: int) -> None:
    with AgentProxy([f"127.0.0.1:{echo}"]) as proxy:
        clients = [socket.socket(socket.AF_UNIX) for _ in range(65)]
        for client in clients:
            client.settimeout(100)
            client.connect(str(proxy.path))
            client.sendall(connect("127.0.0.1", echo))
        answers = [client.recv(1 << 16).split()[1] for client in clients]
        assert answers.count(b"200") == 64 and answers.count(b"503") == 1
    for client in clients:
        with suppress(ConnectionError), client:  # one that is still open would run into its timeout
            while client.recv(1 << 16):
                pass
        client.close()
    assert not proxy.path.parent.exists()


def test_a_folder_that_no_socket_fits_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(EnvironmentProblem, match="path too long"):
        AgentProxy(["example.com"])
    assert not list(deep.iterdir())
