"""Clients of a host whose certificate no public authority has signed; forwarded addresses and schemes."""

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
from arena.contest.web.host import RateLimits
from arena.home.volunteer import HostClient, Unreachable
from arena.serving.limits import Rate
from programs.common.errors import EnvironmentProblem
from tests.arena.contest.hosting import Browser, founded, served
from tests.serving import serving


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


def test_proxy_makes_cookies_secure_and_limits_per_client(tmp_path: Path) -> None:
    limits = RateLimits(join=Rate(1, 3600.0))
    with served(founded(tmp_path, join_open=False).contest, limits) as port:
        forwarded = {"x_forwarded_proto": "https", "host": "contest.example"}
        page = Browser(port).get("/llms.txt", **forwarded)
        assert "https://contest.example/api/v1" in page.text
        assert "Secure" in Browser(port).get("/join", **forwarded).headers["set-cookie"]
        assert "Secure" not in Browser(port).get("/join").headers["set-cookie"]
        body, kind = b'{"name": "x", "code": "bad"}', {"content_type": "application/json"}
        said = [
            Browser(port).ask("POST", "/api/v1/join", body, **kind, x_forwarded_for=client).status
            for client in ("9.9.9.1", "9.9.9.1", "9.9.9.2")
        ]
        assert said == [403, 429, 403]


@pytest.mark.parametrize(("proxies", "secure"), [("127.0.0.0/8", True), ("172.17.0.1", False)])
def test_forwarded_headers_count_from_the_named_proxy_alone(tmp_path: Path, proxies: str, secure: bool) -> None:
    with served(founded(tmp_path).contest, proxies=proxies) as port:
        said = Browser(port).get("/join", x_forwarded_proto="https").headers["set-cookie"]
    assert ("Secure" in said) == secure
