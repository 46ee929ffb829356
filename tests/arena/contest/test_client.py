"""What a hostile host of a contest cannot do to the command line with its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.arena.home.test_client import dripping, host_of, text
from tests.meta.cli_study import metaloop
from tests.serving import serving

COMMANDS = {
    "join": ("join", "--name", "Ada"),
    "submit": ("submit", "program.md", "--token", "mlt_secret"),
    "status": ("status", "--token", "mlt_secret"),
}
ODD = [b"", b"[1]", b"null", b"{}", b'{"name": 7}', b"\xff", b"[" * 60_000, b'{"a":' * 60_000, b'{"\\u001b]0;x": 1}']


def error_of(command: str, url: str, folder: Path, code: int) -> str:
    program = folder / "program.md"
    program.write_text("# A\n\n## Ideas\n\n- Try one thing.\n")
    words = [str(program) if word == "program.md" else word for word in COMMANDS[command]]
    return str(metaloop("contest", *words, "--to", url, code=code).stderr)


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("command", COMMANDS)
def test_contest_client_redirected_does_not_follow(command: str, status: int, tmp_path: Path) -> None:
    inner: list[str] = []
    with (
        serving(host_of(text(200, b"{}"), inner)) as other,
        serving(host_of(text(status, b"", f"http://{other}/stolen"))) as host,
    ):
        message = error_of(command, f"http://{host}", tmp_path, 2)
    assert inner == [] and f"HTTP {status}" in message and "redirects are not followed" in message


@pytest.mark.parametrize(
    "url",
    ["http://[x", "http://host:abc/", "http://ex ample.org", "http://host/a b", "http://host/\x1b[0m", "ftp://host"],
)
def test_address_that_no_request_can_have_is_refused_at_once(url: str, tmp_path: Path) -> None:
    refused = error_of("status", url, tmp_path, 2)
    assert "is not the URL of a contest" in refused and refused.isascii() and "\x1b" not in refused


@pytest.mark.parametrize("body", ODD)
@pytest.mark.parametrize(("command", "status"), [("join", 200), ("submit", 200), ("submit", 422), ("status", 200)])
def test_contest_client_malformed_answer_is_one_clear_line(
    command: str, body: bytes, status: int, tmp_path: Path
) -> None:
    with serving(host_of(text(status, body))) as host:
        message = error_of(command, f"http://{host}", tmp_path, 1)
    first = message.splitlines()[0]
    assert first.startswith("error: ") and "unexpected" not in message and first.isprintable() and len(first) < 700


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_slow_host_does_not_hold_client_for_ever(head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.serving.client.MOST_SECONDS", 0.3)
    with serving(host_of(dripping(head))) as host:
        message = error_of("status", f"http://{host}", tmp_path, 1)
        assert "no whole answer within" in message


def test_proxy_that_needs_a_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    assert "no answer from http://host.invalid: " in error_of("status", "http://host.invalid", tmp_path, 1)


def test_contest_client_too_large_answer_is_refused(tmp_path: Path) -> None:
    with serving(host_of(text(200, bytes(40 << 20)))) as host:
        assert "larger than" in error_of("status", f"http://{host}", tmp_path, 1)


def test_refusal_with_odd_lint_is_one_clear_line(tmp_path: Path) -> None:
    body = rb'{"error": {"message": "no\u001b[2J", "lint": [7, {"line": [1]}, {"file": "\u001b]0;x", "line": 1}]}}'
    with serving(host_of(text(422, body))) as host:
        message = error_of("submit", f"http://{host}", tmp_path, 2)
    assert "unexpected" not in message and "\x1b" not in message
