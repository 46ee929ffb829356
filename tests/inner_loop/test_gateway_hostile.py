"""Agents that do not speak HTTP as clients do, and APIs that do not answer as APIs do, at the gateway."""

from __future__ import annotations

import base64
import gzip
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inner_loop.gateway import server as agent_gateway
from inner_loop.models.spend_limiter import SpendLimiter
from tests.llm.apis import ApiServer
from tests.llm.fixtures import litellm_loaded
from tests.llm.gateway import OPENAI_KEY, Caller, api, body, calling, until
from tests.llm.wild import LIES, WildServer, completion, used, whole
from tests.serving import together

__all__ = ["api", "litellm_loaded"]
pytestmark = pytest.mark.usefixtures("litellm_loaded")
POST = "POST /openai/v1/chat/completions HTTP/1.1"
CAPS: dict[str, Any] = {"max_usd": 5.0, "max_tokens": 100_000, "prices": {"openai/m": (1.0, 2.0, 0.1)}}


def raw(caller: Caller, line: str = POST, *more: bytes, data: bytes | None = None, length: str = "") -> bytes:
    """All that comes back for a request that is written by hand."""
    data = json.dumps(body("chat")).encode() if data is None else data
    head = f"{line}\r\nHost: x\r\nAuthorization: Bearer {caller.gateway.token}\r\n"
    head += f"Content-Length: {length or len(data)}\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(200)
        client.connect(str(caller.gateway.path))
        client.sendall(head.encode() + b"".join(line + b"\r\n" for line in more) + b"\r\n" + data)
        found = b""
        try:
            while piece := client.recv(65536):
                found += piece
        except ConnectionResetError:  # it said what it had to say before it had read everything
            pass
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def wild(answer: bytes) -> WildServer:
    return WildServer(lambda: iter([answer]))


ANSWERED = {
    "GET /openai/v1/models": 200, "GET /openai/v1/models/test": 200, "HEAD /anthropic": 200,
    "POST /anthropic/v1/messages/count_tokens": 200, "POST /anthropic/v1/messages?beta=true": 200,
    "GET /openai/v1/files": 404, "POST /openai/v1/files": 404, "GET /other/v1/models": 404,
    "GET /openai/v1/responses/resp_1": 404, "POST /openai/v1/batches": 404,
    "POST http://evil.example/openai/v1/chat/completions": 404, "POST /openai/v1/%2e%2e/files": 404,
    "POST /openai/v1/../files": 404, "POST /openai/v1/chat/completions/": 404,
    "POST /openai/v1/chat%2fcompletions": 404, "POST /openai/v1//chat/completions": 404,
    "GET /openai/v1/models/../files": 404,
    "POST /openai/v1/chat/completions?a=%0d%0aX:1": 400,
    "PUT /openai/v1/chat/completions": 501, "CONNECT evil.example:443": 501, "DELETE /openai/v1/models/m": 501,
}  # fmt: skip


@pytest.mark.parametrize("line", ANSWERED)
def test_path_is_forwarded_if_it_calls_models(api: ApiServer, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    with calling(api) as caller:
        data = json.dumps(body("messages")).encode() if line.startswith("POST") else b""
        assert status(raw(caller, f"{line} HTTP/1.1", data=data)) == ANSWERED[line]
        assert bool(api.paths) == (ANSWERED[line] == 200 and "HEAD" not in line)
        assert bool(caller.events) == ("?beta" in line)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("more", "length", "expected"),
    [
        ((b"Transfer-Encoding: chunked",), "", 411), ((b"Transfer-Encoding: identity",), "", 411), ((), "-1", 411),
        ((), "1_0", 411), ((), "9" * 5000, 413), ((), "9" * 20, 413), ((b"Content-Encoding: gzip",), "", 415),
        ((b"User-Agent: \xe9\xff",), "", 200), ((b"User-Agent: a", b" X-Evil: 1"), "", 200),
        ((b"Content-Length: 3",), "", 200), ((b"Authorization: Bearer other",), "", 200),
        ((b"CONTENT-TYPE: application/json; charset=utf-7", b"content-type: text/plain"), "", 200),
    ],
)  # fmt: skip
def test_request_with_odd_headers_is_answered_by_the_table(
    api: ApiServer, more: tuple[bytes, ...], length: str, expected: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with calling(api, **CAPS) as caller:
        assert status(raw(caller, POST, *more, length=length)) == expected
        assert len(api.paths) == len(caller.events) == (expected == 200)
    assert all("x-evil" not in told and told["authorization"] == f"Bearer {OPENAI_KEY}" for told in api.heard)
    assert all(told["content-type"] == "application/json" for told in api.heard)
    assert capfd.readouterr() == ("", "")


def most_memory(work: Callable[[], None]) -> int:
    """Bytes that this process had at most while it did the work, beyond those before."""

    def high(field: str) -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) << 10

    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak starts again
    before = high("VmRSS")
    work()
    return high("VmHWM") - before


@pytest.mark.parametrize("piece", [b"{},", b'{"a":[]},', b"0,", b'"",'])
def test_body_of_many_small_values_is_refused_unparsed(piece: bytes, api: ApiServer) -> None:
    """Parsed, each byte of it takes 25 of the host's memory, which is not charged to the agent."""
    values, answers = piece * ((8 << 20) // len(piece)), list[int]()
    data = json.dumps(body("chat")).encode()[:-1] + b',"stop":[' + values + b"0]}"
    with calling(api, **CAPS) as caller:
        path, key = "openai/v1/chat/completions", caller.key("chat")

        def work() -> None:
            together(8, lambda _: answers.append(caller.client.post(path, content=data, headers=key).status_code))

        assert most_memory(work) < 300 << 20 and answers == [413] * 8 and not api.seen


def test_large_bodies_at_once_are_held_within_limits(api: ApiServer) -> None:
    """They wait for each other, and all are answered: refused after they were parsed."""
    asked = body("chat", model="nothing" * 100, user="\U0001f600" + "x" * (12 << 20))
    data, statuses = json.dumps(asked, ensure_ascii=False).encode(), list[int]()
    with calling(api, **CAPS | {"max_tokens": None, "calls_at_once": 24}) as caller:

        def work() -> None:
            path, key = "openai/v1/chat/completions", caller.key("chat")
            together(12, lambda _: statuses.append(caller.client.post(path, content=data, headers=key).status_code))

        assert most_memory(work) < 500 << 20 and statuses == [400] * 12
        assert status(raw(caller, length=str(17 << 20))) == 413 and not api.seen


def test_second_request_behind_the_first_is_not_read(api: ApiServer) -> None:
    with calling(api, **CAPS) as caller:
        second = f"{POST}\r\nHost: x\r\nAuthorization: Bearer {caller.gateway.token}\r\n\r\n".encode()
        data = json.dumps(body("chat")).encode()
        answer = raw(caller, data=data + second + data, length=str(len(data)))
        assert answer.count(b"HTTP/1.1") == 1 and len(api.seen) == len(caller.events) == 1


@pytest.mark.parametrize("lie", LIES)
def test_lie_about_usage_gives_nothing_back(lie: str, tmp_path: Path) -> None:
    with wild(whole(completion(LIES[lie]))) as server, calling(server, study=tmp_path, **CAPS) as caller:
        assert caller.ask("chat").status_code == 200
        (event,), spent = caller.events, SpendLimiter(tmp_path).spent()
        assert spent.tokens == event["tokens"] + event["lost_tokens"] > 0
        assert spent.usd == pytest.approx(event["usd"] + event["lost_usd"]) and spent.usd > 0


def test_words_of_an_api_are_recorded_without_escapes(tmp_path: Path) -> None:
    """With another status than 200 it is not free."""
    answer = whole(completion(used(100, 50), model="\ud800\x1b[2Jm", finish="\ud800\x1b[31m"), status="201 Created")
    with wild(answer) as server, calling(server, study=tmp_path, **CAPS) as caller:
        assert caller.ask("chat").status_code == 201 and SpendLimiter(tmp_path).spent().tokens == 150
        told = json.dumps(caller.events, ensure_ascii=False)
        assert told.encode() and "\x1b" not in told and "\\u001b" not in told


@pytest.mark.parametrize("code", ["200 OK", "401 Unauthorized"])
def test_key_in_base64_in_a_reply_is_redacted(code: str) -> None:
    written = base64.b64encode(f"me:{OPENAI_KEY}".encode()).decode()
    inside = written[4:-4]
    answer = whole(json.dumps({"error": f"sent {written}"}).encode(), status=code)
    with wild(answer) as server, calling(server, **CAPS) as caller:
        response = caller.ask("chat")
        assert "[secret]" in response.text and inside not in response.text
        assert inside not in json.dumps(caller.events)


RAW: dict[str, bytes] = {
    "bad gzip": whole(b"nothing of the kind", head="Content-Encoding: gzip\r\n"), "nothing": b"",
    "tls": b"\x15\x03\x01\x00\x02\x02\x28", "cut": whole(completion(used(1, 1)))[:-9],
    "bomb": whole(gzip.compress(gzip.compress(bytes(70 << 20))), head="Content-Encoding: gzip, gzip\r\n"),
    "not utf-8": whole(b"\xff\xfe\xfd"), "elsewhere": whole(b"", status="302 Found", head="Location: http://x/\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("answer", RAW)
def test_bytes_that_are_no_answer_are_charged(answer: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with wild(RAW[answer]) as server, calling(server, study=tmp_path, **CAPS) as caller:
        status_code = caller.ask("chat").status_code
        (event,) = caller.events
        assert status_code == {"bomb": 502, "elsewhere": 502}.get(answer, status_code)
        assert len(server.heard) == 1 and caller.gateway.meter.problem is None
        assert (b"gzip" in RAW[answer]) == ("compressed" in event["reason"])  # not unpacked, before any limit
        assert SpendLimiter(tmp_path).spent().tokens == event["lost_tokens"] and (event["lost_tokens"] > 0) == (
            answer != "elsewhere"
        )
    assert capfd.readouterr() == ("", "")


def test_stream_in_single_bytes_keeps_its_letters(tmp_path: Path) -> None:
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "größer"}}]}, ensure_ascii=False).encode()
    last = json.dumps({"choices": [], "usage": used(10, 5)}).encode()
    events = b"data: " + chunk + b"\r\n\r\ndata: " + last + b"\r\n\r\ndata: [DONE]\r\n\r\n"

    def letters() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        yield from (events[n : n + 1] for n in range(len(events)))

    with WildServer(letters) as server, calling(server, study=tmp_path, **CAPS) as caller:
        assert "größer" in caller.ask("chat", stream=True).content.decode()
        assert SpendLimiter(tmp_path).spent().tokens == 15


def test_agent_that_stops_reading_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reply is read to its end and paid, and the one connection there is serves the next request."""
    monkeypatch.setattr(agent_gateway.Handler, "timeout", 1.0)
    monkeypatch.setattr(agent_gateway, "CONNECTIONS", 1)
    chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 60_000}}]}).encode()
    last = json.dumps({"choices": [], "usage": used(10, 5)}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    answer = head + (b"data: " + chunk + b"\n\n") * 30 + b"data: " + last + b"\n\ndata: [DONE]\n\n"
    asked = json.dumps(body("chat", stream=True)).encode()
    with wild(answer) as server, calling(server, **CAPS) as caller, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(caller.gateway.path))
        line = f"{POST}\r\nAuthorization: Bearer {caller.gateway.token}\r\nContent-Length: {len(asked)}\r\n\r\n"
        silent.sendall(line.encode() + asked)
        assert until(lambda: bool(caller.events)) and caller.events[0]["tokens"] == 15
        assert until(lambda: caller.ask("chat", stream=True).status_code == 200)
