"""A hostile host's replies at the user's terminal: no escape sequence, no mark of direction reaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from meta.cli.main import run
from meta.cli.output import json_line
from tests.serving import serving

EVIL = "\x1b]0;owned\x07 \x1b[2Jcleared \x9b31m \u202egnp.exe\u2066 \u200b\r\x08over \udc80 end"
STRANGE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
BODIES = {
    "error": (400, {"error": {"message": EVIL, "hint": EVIL}}),
    "error of the host": (503, EVIL),
    "not found": (404, {"error": {"message": EVIL, "hint": EVIL}}),
    "unauthorized": (401, {"error": {"message": EVIL, "hint": EVIL}}),
    "answer": (200, {"title": EVIL, "phase": EVIL, "name": EVIL, "token": EVIL, "project": EVIL, "key": EVIL}),
}


class _Hostile(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=sorted(set(BODIES) - {"error of the host"}))
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a host that gives this answer to everything."""
    status, body = BODIES[request.param]
    handler = type("Hostile", (_Hostile,), {"status": status, "body": json.dumps(body).encode()})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(
    "words",
    [["contest", "status", "--to"], ["contest", "join", "--name", "Ann", "--to"], ["home", "join"]],
    ids=["status", "join", "home"],
)
def test_a_hosts_words_have_no_power_over_a_terminal(
    host: str, words: list[str], more: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:  # fmt: skip
    monkeypatch.chdir(str(tmp_path))
    run([*words, host, *more])
    seen = "".join(capfd.readouterr())
    assert seen and not STRANGE.search(seen), ascii(seen)


def test_json_for_a_script_keeps_its_values() -> None:
    assert json.loads(json_line({"said": EVIL, "é": "日本語 🎉"})) == {"said": EVIL, "é": "日本語 🎉"}
    assert json_line({"é": "日本語 🎉"}) == '{"é": "日本語 🎉"}' and not STRANGE.search(json_line(EVIL))
