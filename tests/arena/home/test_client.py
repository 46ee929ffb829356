"""A volunteer's client: which hosts it talks to, and what a hostile one cannot do with its answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from arena.home.protocol import ProjectAbout, parsed
from arena.home.volunteer import HostClient, JoinedProject, LocalSearch, Unreachable, VolunteerSession
from programs.common.errors import CredentialMissing, EnvironmentProblem, NotFound, UsageError
from programs.shelf import starter
from tests.meta.cli_study import metaloop
from tests.serving import serving

Answer = Callable[[BaseHTTPRequestHandler], Any]


def host_of(answer: Answer, seen: list[str] | None = None) -> ThreadingHTTPServer:
    """A host whose answers are what ``answer`` writes. ``seen``: the paths that it was asked for."""

    class Hostile(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if seen is not None:
                seen.append(self.path)
            with suppress(OSError):  # the client has left
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Hostile)


def text(status: int, body: bytes, location: str = "") -> Answer:
    head = f"HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n".encode()
    return lambda handler: handler.wfile.write(head + body)


def dripping(head: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.02)

    return answer


def join(url: str, folder: Path, code: int) -> str:
    """What the command says that ends with this exit code."""
    return str(metaloop("home", "join", url, "-y", "--set", f"folder={folder / 'v'}", code=code).stderr)


def session(folder: Path, host: str = "127.0.0.1:9") -> VolunteerSession:
    return VolunteerSession(HostClient(f"http://{host}"), folder, "Ann", LocalSearch(starter("stock")), print)


def test_address_is_http_of_a_host_alone_and_never_in_the_clear(tmp_path: Path) -> None:
    for url in ("https://example.org", "http://127.9.9.9", "http://[::1]:1", "http://localhost"):
        assert HostClient(f"{url}/").base == url
    for url in ("", "host", "ftp://127.0.0.1", "http://", "http://a@127.0.0.1", "http://[::1", "http://127.0.0.1:y"):
        with pytest.raises(UsageError, match="not the address of a project"):
            HostClient(url)
    hosts = (
        "192.0.2.1",
        "example.org:8331",
        "127.0.0.1.example.org",
        "2130706433",
        "[2001:db8::1]/",
        "localhost.a.org",
    )
    for host in hosts:
        said = join(f"http://{host}", tmp_path, 2)
        assert "has no TLS" in said and "ssh -L 8331:127.0.0.1:" in said and not (tmp_path / "v").exists()


@pytest.mark.parametrize("status", [301, 308])
def test_a_redirect_is_not_followed(status: int, tmp_path: Path) -> None:
    """Or a host could make a volunteer ask machines of its own network."""
    inner: list[str] = []
    with (
        serving(host_of(text(200, b"{}"), inner)) as other,
        serving(host_of(text(status, b"", f"http://{other}/secret"))) as host,
    ):
        said = join(f"http://{host}", tmp_path, 2)
    assert f"HTTP {status}" in said and "redirects are not followed" in said and inner == []


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_a_host_that_sends_slowly_does_not_hold_a_join(head: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("arena.serving.client.MOST_SECONDS", 0.3)
    monkeypatch.setattr("arena.home.volunteer.PAUSES", (0.01, 0.01))
    began = time.monotonic()
    with serving(host_of(dripping(head))) as host:
        said = join(f"http://{host}", tmp_path, 1)
    assert time.monotonic() - began < 10 and "no whole answer within" in said


def test_each_kind_of_answer_has_a_limit(tmp_path: Path) -> None:
    with serving(host_of(text(200, bytes((256 << 10) + 1)))) as host:
        assert len(HostClient(f"http://{host}").ask("/", most=(256 << 10) + 1)) == (256 << 10) + 1
        with pytest.raises(EnvironmentProblem, match="larger than 256 KB"):
            session(tmp_path, host=host).about()


def test_a_malformed_answer_is_said_in_one_line(tmp_path: Path) -> None:
    bodies = [b"", b"{", b"\xff", b"{}", b"[" * 60_000, b'{"project": 7}', b'{"\\u001b]0;x": 1}']
    with serving(host_of(lambda handler: text(200, bodies[0])(handler))) as host:
        while bodies:
            said, hint = join(f"http://{host}", tmp_path, 1).splitlines()
            assert said.startswith("error: the host's answer is malformed: ") and said.isprintable() and "hint" in hint
            del bodies[0]


def test_what_a_host_says_of_an_error_is_one_printable_line() -> None:
    said = rb'{"error": {"message": "a\nb\u001b[2J\u202e' + b"x" * 9000 + b'", "hint": 7}}'
    answers: list[tuple[int, bytes]] = []
    with serving(host_of(lambda handler: text(*answers[-1])(handler))) as address:
        client, kinds = HostClient(f"http://{address}"), {400: UsageError, 401: CredentialMissing, 404: NotFound}
        for status, kind in kinds.items():
            answers.append((status, said))
            with pytest.raises(kind) as refused:
                client.ask("/")
            assert refused.value.message.startswith("a b [2J x") and refused.value.message.isprintable()
            assert len(refused.value.message) <= 500 and refused.value.hint == "7"
        of_a_proxy = (b"", b"[]", b'{"error": 7}', b"[" * 9_000, b"<h1>Too Large</h1>" * 9_000)
        for again in [(status, said) for status in (408, 429, 500, 502)] + [(413, body) for body in of_a_proxy]:
            answers.append(again)  # the host itself gives a reason
            with pytest.raises(Unreachable, match=f"HTTP {again[0]}"):
                client.ask("/")


def test_text_of_a_host_is_one_printable_line() -> None:
    task = {"name": "t\n", "digest": "0" * 64, "unit": "\x1b[2Jnats"}
    about = {"project": "h0123456789ab", "title": "a\nerror: b" + "x" * 9000, "task": task, "block": 0}
    read = parsed(ProjectAbout, json.dumps({**about, "commit": "0" * 40, "files": {"train.py": ""}, "budget": 1.0}))
    assert read.title.startswith("a error: bxx") and len(read.title) == 500
    assert read.task.name == "t" and read.task.unit == "[2Jnats"


def test_a_damaged_file_of_a_volunteer_is_named(tmp_path: Path) -> None:
    (tmp_path / "project.json").write_text('{"url": 7}')
    with pytest.raises(UsageError, match=r"project\.json: url"):
        _ = session(tmp_path).joined


def test_a_host_that_was_joined_is_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    """And another, or one that was never joined, is not."""
    monkeypatch.setattr("arena.home.volunteer.PAUSES", (0.01,))
    said: list[str] = []
    ann = session(tmp_path)
    with pytest.raises(EnvironmentProblem, match="no answer from http://127"):
        ann.about()
    joined = JoinedProject(url="", project="h000000000000", task="0" * 64, token="x")
    (tmp_path / "project.json").write_text(joined.model_dump_json())

    def say(line: str) -> None:
        said.append(line)
        if len(said) > 1:
            raise KeyboardInterrupt

    ann.say = say
    with pytest.raises(KeyboardInterrupt):
        ann.about()
    assert all("trying again" in line for line in said)
