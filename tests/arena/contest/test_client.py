"""What a hostile host of a contest cannot do to the command line with its answers, nor one that nobody vouches for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from arena.contest.client import ContestClient
from arena.home.volunteer import HostClient, Unreachable
from programs.common.errors import EnvironmentProblem
from tests.arena.home.test_client import dripping, host_of, text
from tests.meta.cli_study import metaloop
from tests.serving import serving

COMMANDS = {
    "join": ("join", "--name", "Ada"),
    "submit": ("submit", "program.md", "--token", "mlt_secret"),
    "status": ("status", "--token", "mlt_secret"),
}
ODD = [b"", b"[1]", b"null", b"{}", b'{"name": 7}', b"\xff", b"[" * 60_000, b'{"a":' * 60_000, b'{"\\u001b]0;x": 1}']
ODD_LINT = rb'{"error": {"message": "no\u001b[2J", "lint": [7, {"line": [1]}, {"file": "\u001b]0;x", "line": 1}]}}'


def error_of(command: str, url: str, folder: Path, code: int) -> str:
    program = folder / "program.md"
    program.write_text("# A\n\n## Ideas\n\n- Try one thing.\n")
    words = [str(program) if word == "program.md" else word for word in COMMANDS[command]]
    return str(metaloop("contest", *words, "--to", url, code=code).stderr)


@pytest.mark.parametrize(("command", "status"), [("join", 302), ("submit", 307), ("status", 302)])
def test_contest_client_redirected_does_not_follow(command: str, status: int, tmp_path: Path) -> None:
    inner: list[str] = []
    with (
        serving(host_of(text(200, b"{}"), inner)) as other,
        serving(host_of(text(status, b"", f"http://{other}/stolen"))) as host,
    ):
        message = error_of(command, f"http://{host}", tmp_path, 2)
    assert inner == [] and f"HTTP {status}" in message


@pytest.mark.parametrize(
    "url", ["http://[x", "http://host:abc/", "http://host/a b", "http://host/\x1b[0m", "ftp://host"]
)
def test_address_that_no_request_can_have_is_refused_at_once(url: str, tmp_path: Path) -> None:
    refused = error_of("status", url, tmp_path, 2)
    assert "is not the URL of a contest" in refused and refused.isascii() and "\x1b" not in refused


@pytest.mark.parametrize(("command", "status"), [("join", 200), ("submit", 200), ("submit", 422), ("status", 200)])
def test_contest_client_malformed_answer_is_one_clear_line(command: str, status: int, tmp_path: Path) -> None:
    for body in ODD:
        with serving(host_of(text(status, body))) as host:
            message = error_of(command, f"http://{host}", tmp_path, 1)
        first = message.splitlines()[0]
        assert first.startswith("error: ") and "unexpected" not in message, body[:9]
        assert first.isprintable() and len(first) < 700, body[:9]


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_slow_host_does_not_hold_client_for_ever(head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.serving.client.MOST_SECONDS", 0.3)
    with serving(host_of(dripping(head))) as host:
        assert "no whole answer within" in error_of("status", f"http://{host}", tmp_path, 1)


def test_proxy_that_needs_a_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    assert "no answer from http://host.invalid: " in error_of("status", "http://host.invalid", tmp_path, 1)


def test_answer_too_large_or_with_odd_lint_is_refused(tmp_path: Path) -> None:
    with serving(host_of(text(200, bytes(40 << 20)))) as host:
        assert "larger than" in error_of("status", f"http://{host}", tmp_path, 1)
    with serving(host_of(text(422, ODD_LINT))) as host:
        message = error_of("submit", f"http://{host}", tmp_path, 2)
    assert "unexpected" not in message and "\x1b" not in message


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"hello": 1}')

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def own_certificate(folder: Path) -> Iterator[tuple[str, Path]]:
    """An https server with a certificate that it signed itself: its address, the certificate's file."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as address:
        yield f"https://{address}", cert


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_an_unknown_certificate_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_certificate(tmp_path) as (url, cert):
        contest, project = ContestClient(url), HostClient(url)
        for ask in (lambda: contest.get("/x", dict), lambda: project.ask("/x")):
            with pytest.raises(EnvironmentProblem) as refused:
                ask()
            assert "SSL_CERT_FILE" in str(refused.value.hint)
        with monkeypatch.context() as trusted:
            trusted.setenv("SSL_CERT_FILE", str(cert))
            assert contest.get("/x", dict) == {"hello": 1} and b"hello" in project.ask("/x")
        with pytest.raises(Unreachable):  # it has answered before, so it is asked again
            project.ask("/x")
