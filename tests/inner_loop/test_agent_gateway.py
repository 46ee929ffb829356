"""The gateway of model APIs, over real HTTP on both sides: what passes, what it costs, and what never passes."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from inner_loop import agent_gateway
from inner_loop.models.client import Client
from inner_loop.models.contract import Message
from inner_loop.models.purse import Purse
from programs.errors import CapReached, UsageError
from tests.llm.apis import ApiServer
from tests.llm.fixtures import close_connections, litellm_loaded  # noqa: F401 - a fixture
from tests.llm.gateway import ANTHROPIC_KEY, OPENAI_KEY, PATHS, Caller, body, calling
from tests.llm.kits import environment, kit

pytestmark = pytest.mark.usefixtures("litellm_loaded")
KINDS = tuple(PATHS)
TEXT = "It is a matter of taste, and of patience; try the smaller steps first."
PRICES = {"openai/m": (1.0, 2.0), "anthropic/m": (1.0, 2.0)}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(lambda _: TEXT) as server:
        yield server


def fails(kind: str) -> Callable[[int, Any], str]:
    return lambda _number, _body: kind


def said(response: httpx.Response, kind: str) -> str:
    """The text of a whole or streamed reply, as a client of the protocol reads it."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        told = response.json()
        if kind == "chat":
            return str(told["choices"][0]["message"]["content"])
        return str((told if kind == "messages" else told["output"][0])["content"][0]["text"])
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    if kind == "chat":
        return "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    if kind == "messages":
        return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_passes_with_the_real_key_and_is_metered(api: ApiServer, kind: str, stream: bool) -> None:
    with calling(api, prices=PRICES, max_usd=1.0) as caller:
        response = caller.ask(kind, stream=stream)
        assert response.status_code == 200 and said(response, kind) == TEXT
    key = f"Bearer {OPENAI_KEY}" if kind != "messages" else ANTHROPIC_KEY
    assert api.heard[0]["authorization" if kind != "messages" else "x-api-key"] == key
    assert caller.gateway.token not in str(api.heard)
    [call] = caller.events
    assert [call["tokens_in"], call["tokens_out"]] == api.billed and call["tokens"] == sum(api.billed)
    assert call["usd"] == pytest.approx(api.billed[0] * 1e-6 + api.billed[1] * 2e-6)
    about = {"kind": "call", "run_id": "r0", "number": 0, "purpose": "agent", "model": "m", "status": "ok"}
    assert {name: call[name] for name in about} == about and call["lost_tokens"] == 0 and call["finish"] == "stop"


def test_the_chat_researchers_fields_are_all_there(api: ApiServer) -> None:
    """One schema for the view `calls`, whoever asked."""
    events: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        environment(patch, api.url)
        Client(kit(events), 1).complete([Message("user", "hello")], max_tokens=10, purpose="turn")
    with calling(api) as caller:
        caller.ask("chat")
    assert {k: type(v) for k, v in caller.events[0].items()} == {k: type(v) for k, v in events[0].items()}
    close_connections()


def test_usage_is_asked_for_where_the_agent_did_not(api: ApiServer) -> None:
    """And what it did not ask for it is not told: some clients read `choices[0]` of every chunk."""
    with calling(api) as caller:
        bare = caller.ask("chat", stream=True)
        asked = caller.ask("chat", stream=True, stream_options={"include_usage": True})
    assert [seen["stream_options"] for seen in api.seen] == [{"include_usage": True}] * 2
    assert '"usage"' not in bare.text and '"usage"' in asked.text and bare.text.endswith("data: [DONE]\n\n")
    assert [call["tokens"] for call in caller.events] == [sum(api.billed) // 2] * 2


@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_a_stream_is_passed_on_as_it_comes(api: ApiServer, kind: str) -> None:
    api.fault = fails("slow")
    heard: list[str] = []
    with calling(api) as caller:
        if kind == "messages":
            api.fault = lambda _number, _body: "slow"
        with caller.client.stream(
            "POST", PATHS[kind], json=body(kind, stream=True), headers=caller.key(kind)
        ) as response:
            for piece in response.iter_text():
                heard.append(piece)
                if not api.release.is_set():
                    assert not caller.events  # half of it is here, and its end was not sent yet
                    api.release.set()
        assert len(heard) > 1 and caller.events[0]["tokens"] == sum(api.billed)


def test_prompts_from_a_cache_cost_what_they_cost(api: ApiServer) -> None:
    api.cached = 12
    with calling(api) as caller:
        caller.ask("messages", model="claude-sonnet-4-5")
        caller.ask("messages", model="claude-sonnet-4-5", stream=True)
    whole, streamed = caller.events
    fresh, said_ = whole["tokens_in"] - 12, whole["tokens_out"]
    assert whole["tokens_cached"] == streamed["tokens_cached"] == 12
    assert whole["usd"] == pytest.approx(12 * 0.3e-6 + fresh * 3e-6 + said_ * 15e-6)
    assert streamed["usd"] == pytest.approx(12 * 0.3e-6 + (streamed["tokens_in"] - 12) * 3e-6 + said_ * 15e-6)


def test_headers_that_name_an_account_stay_behind(api: ApiServer) -> None:
    mine = {
        "Cookie": "a=b", "OpenAI-Organization": "org-mine", "X-Forwarded-For": "1.2.3.4", "Host": "evil.example",
        "anthropic-version": "2023-06-01", "anthropic-beta": "x", "Proxy-Authorization": "Basic abc", "TE": "trailers",
    }  # fmt: skip
    with calling(api) as caller:
        for kind in ("chat", "messages"):
            caller.client.post(PATHS[kind], json=body(kind), headers=caller.key(kind) | mine)
    for heard in api.heard:
        assert heard["anthropic-version"] == "2023-06-01" and heard["host"].startswith("127.0.0.1:")
        gone = {"cookie", "openai-organization", "x-forwarded-for", "proxy-authorization", "te", "transfer-encoding"}
        assert not gone & heard.keys()
    assert "x-api-key" not in api.heard[0] and "authorization" not in api.heard[1]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "openai/v1/models", 200), ("GET", "openai/v1/models/test", 200), ("HEAD", "anthropic", 200),
        ("POST", "anthropic/v1/messages/count_tokens", 200), ("POST", "anthropic/v1/messages?beta=true", 200),
        ("GET", "openai/v1/files", 404), ("POST", "openai/v1/files", 404), ("DELETE", "openai/v1/models/test", 501),
        ("POST", "openai/v1/../admin/keys", 404), ("POST", "openai/v1/%2e%2e/chat/completions", 404),
        ("POST", "openai/v1//chat/completions", 404), ("POST", "openai/v1/chat/completions/", 404),
        ("GET", "openai/v1/models/../files", 404), ("GET", "openai/v1/models/..", 404), ("GET", "other/v1/models", 404),
        ("GET", "openai/v1/responses/resp_1", 404), ("POST", "openai/v1/chat/completions?a=/../b", 400),
        ("PUT", "openai/v1/chat/completions", 501), ("POST", "openai/v1/batches", 404),
    ],
)  # fmt: skip
def test_only_models_are_asked(api: ApiServer, method: str, path: str, status: int) -> None:
    with calling(api) as caller:
        address = httpx.URL("http://127.0.0.1").copy_with(raw_path=f"/{path}".encode())
        json_ = body("messages") if method == "POST" else None
        response = caller.client.request(method, address, json=json_, headers=caller.key("chat"))
    assert response.status_code == status, response.text
    assert bool(api.paths) == (status == 200 and method != "HEAD")


def test_who_lacks_the_pass_is_not_let_in(api: ApiServer) -> None:
    with calling(api) as caller:
        for headers in ({}, {"Authorization": "Bearer x"}, {"x-api-key": caller.gateway.token[:-1]}):
            response = caller.client.post(PATHS["chat"], json=body("chat"), headers=headers)
            assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    assert not api.seen and not caller.events


def test_what_has_no_visible_price_is_taken_out_or_refused(api: ApiServer) -> None:
    own = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {}}}}}
    tools = [own, {"type": "web_search"}, {"type": "mcp", "server_url": "http://x"}]
    link = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
    far = [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://x"}}]}]
    with calling(api) as caller:
        assert caller.ask("chat", tools=tools, service_tier="priority", web_search_options={}).status_code == 200
        assert caller.ask("messages", tools=[{"type": "web_search_20250305", "name": "w"}]).status_code == 200
        for kind, more in (
            ("responses", {"background": True}), ("responses", {"previous_response_id": "r"}),
            ("responses", {"prompt": {"id": "p"}}), ("chat", {"messages": link}), ("messages", {"messages": far}),
            ("messages", {"messages": [{"role": "user", "content": [{"source": {"type": "file", "file_id": "f"}}]}]}),
            ("chat", {"max_tokens": -1}), ("chat", {"max_tokens": "9"}), ("chat", {"n": 0}), ("chat", {"model": None}),
        ):  # fmt: skip
            response = caller.ask(kind, **more)
            assert response.status_code == 400 and response.json()["error"]["message"], more
        data = {"content": b"[1]", "headers": caller.key("chat")}
        assert caller.client.post(PATHS["chat"], **data).status_code == 400  # type: ignore[arg-type]
        deep = {"content": b"[" * 100_000, "headers": caller.key("chat")}
        assert caller.client.post(PATHS["chat"], **deep).status_code == 400  # type: ignore[arg-type]
    assert [seen.get("tools") for seen in api.seen] == [[own], None]
    assert not {"service_tier", "web_search_options"} & api.seen[0].keys() and len(caller.events) == 2


def test_bodies_and_connections_are_bounded(api: ApiServer) -> None:
    with calling(api) as caller:
        key = caller.key("chat")
        long = f"POST /{PATHS['chat']} HTTP/1.1\r\nAuthorization: Bearer {caller.gateway.token}\r\n"
        assert b" 413 " in raw(caller, f"{long}Content-Length: {33 << 20}\r\n\r\n".encode())
        chunks = caller.client.post(PATHS["chat"], content=iter([b"{}"]), headers=key)
        packed = caller.client.post(PATHS["chat"], content=b"x", headers=key | {"Content-Encoding": "zstd"})
        assert [chunks.status_code, packed.status_code] == [411, 415]
        idle = []
        for _ in range(70):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(caller.gateway.socket))
            one.settimeout(10)
            idle.append(one)
        assert b"503" in idle[-1].recv(100)  # and the others are let go when they say nothing
        for one in idle:
            one.close()
        assert _until(lambda: caller.ask("chat").status_code == 200)


def raw(caller: Caller, data: bytes) -> bytes:
    """The beginning of the answer to some bytes."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(20)
        one.connect(str(caller.gateway.socket))
        one.sendall(data)
        return one.recv(1 << 16)


def _until(true: Callable[[], bool]) -> bool:
    """Whether it comes true in a while."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if true():
                return True
        time.sleep(0.05)
    return False


# --- caps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_cap_ends_it_with_an_error_that_an_agent_can_read(api: ApiServer, kind: str, tmp_path: Path) -> None:
    with calling(api, study=tmp_path, max_tokens=4000) as caller:
        answers = [caller.ask(kind) for _ in range(100)]
        codes = [answer.status_code for answer in answers]
        passed = codes.index(402)
        assert passed > 10 and set(codes[passed:]) == {402}
        error = answers[-1].json()
        assert "--max-tokens 4000 is reached" in error["error"]["message"]
        assert answers[-1].headers["x-should-retry"] == "false"
        assert error["error"]["type"] == ("billing_error" if kind == "messages" else "insufficient_quota")
        assert isinstance(caller.gateway.toll.problem, CapReached)
    spent = Purse(tmp_path, max_tokens=4000).spent()
    assert spent.tokens == sum(api.billed) == sum(call["tokens"] for call in caller.events) <= 4000
    assert len(api.seen) == len(caller.events) == passed


def test_calls_at_once_never_pass_a_cap(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.02
    with calling(api, study=tmp_path, max_usd=0.004, prices=PRICES, calls_at_once=6) as caller:
        codes: list[int] = []

        def work() -> None:
            for _ in range(10):
                codes.append(caller.ask("chat", stream=len(codes) % 2 == 0).status_code)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert api.most_at_once <= 6 and codes.count(200) == len(caller.events) > 10 and codes.count(402) > 0
    spent = sum(call["usd"] for call in caller.events)
    assert spent == pytest.approx(api.billed[0] * 1e-6 + api.billed[1] * 2e-6) and 0.001 < spent <= 0.004
    assert sorted(call["number"] for call in caller.events) == list(range(len(caller.events)))


def test_a_cap_in_dollars_needs_a_price(api: ApiServer) -> None:
    with calling(api, max_usd=1.0) as caller:
        response = caller.ask("chat", model="nobody-knows")
        assert response.status_code == 402 and "no price is known for nobody-knows" in response.text
        assert isinstance(caller.gateway.toll.problem, UsageError)
        assert "--price openai/nobody-knows=" in caller.gateway.toll.problem.hint
    assert not api.seen and not caller.events


def test_an_unpriced_model_without_a_cap_is_counted_and_not_free(api: ApiServer) -> None:
    with calling(api) as caller:
        assert caller.ask("chat", model="nobody-knows").status_code == 200
    assert caller.events[0]["usd"] is None and caller.events[0]["tokens"] == sum(api.billed)


def test_a_reply_without_a_length_is_bounded_by_what_the_model_can_say(api: ApiServer) -> None:
    asked = {"model": "gpt-5", "max_output_tokens": None}  # it may answer 128,000 tokens at $10 a million
    with calling(api, max_usd=2.0) as caller:
        assert caller.ask("responses", **asked).status_code == 200
    assert api.seen[-1]["max_output_tokens"] is None
    with calling(api, max_usd=0.4) as caller:  # less is left: the reply is bounded, but not to nothing
        assert caller.ask("responses", **asked).status_code == 200
    assert api.seen[-1]["max_output_tokens"] == 32_000
    with calling(api, max_usd=0.004) as caller:
        response = caller.ask("responses", **asked)
    assert response.status_code == 402 and "the next call may take $0.0" in response.text
    with calling(api, max_tokens=100_000) as caller:
        assert caller.ask("chat", max_tokens=None).status_code == 200
    assert api.seen[-1]["max_tokens"] == 32768


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_api_that_dies_in_the_middle_has_cost_what_it_could(api: ApiServer, kind: str, tmp_path: Path) -> None:
    api.fault = fails("drop")
    with calling(api, study=tmp_path, max_tokens=100_000) as caller:
        assert caller.ask(kind).status_code == 502
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):  # no end that looks like one
            caller.ask(kind, stream=True)
    spent = Purse(tmp_path, max_tokens=100_000).spent().tokens
    assert [call["tokens"] for call in caller.events] == [0, 0]
    assert spent == sum(call["lost_tokens"] for call in caller.events) > sum(api.billed)


def test_a_reply_that_tells_no_usage_has_cost_what_it_could(api: ApiServer, tmp_path: Path) -> None:
    api.fault = fails("silent")
    with calling(api, study=tmp_path, max_tokens=100_000) as caller:
        for kind in ("messages", "responses"):
            assert caller.ask(kind).status_code == 200
        for kind in KINDS:
            assert said(caller.ask(kind, stream=True), kind) == TEXT
    assert all(call["status"] == "ok" and call["lost_tokens"] > 2200 for call in caller.events)
    assert Purse(tmp_path, max_tokens=100_000).spent().tokens == sum(call["lost_tokens"] for call in caller.events)


def test_errors_of_an_api_pass_and_cost_nothing(api: ApiServer, tmp_path: Path) -> None:
    for fault, status in (("429", 429), ("500", 500), ("503", 503), ("400", 400), ("401", 401)):
        api.fault = fails(fault)
        with calling(api, study=tmp_path, max_tokens=10_000) as caller:
            for kind in KINDS:
                response = caller.ask(kind)
                assert response.status_code == status and response.json()["error"]["message"]
                assert (response.headers.get("retry-after") == "0.01") == (status == 429)
        assert [call["status"] for call in caller.events] == ["failed"] * 3
        assert {call["lost_tokens"] for call in caller.events} == {0}
    assert Purse(tmp_path, max_tokens=10_000).spent().tokens == 0


def test_no_redirect_is_followed(api: ApiServer) -> None:
    api.fault = fails("redirect")
    with calling(api) as caller:
        response = caller.ask("chat")
    assert response.status_code == 502 and "location" not in response.headers and len(api.seen) == 1


def test_a_key_that_an_api_tells_back_does_not_come_in(api: ApiServer) -> None:
    api.fault = fails("echo")
    with calling(api) as caller:
        response = caller.ask("chat")
        api.fault, api.answer = lambda _n, _b: None, lambda _: f"your key is {OPENAI_KEY}, isn't it {ANTHROPIC_KEY}?"
        replies = [caller.ask(kind, stream=stream).text for kind in KINDS for stream in (False, True)]
    assert "[secret]" in response.text
    for text in [response.text, *replies, str(caller.events)]:
        assert OPENAI_KEY not in text and ANTHROPIC_KEY not in text


def test_an_api_that_hangs_or_is_not_there_is_told(api: ApiServer, tmp_path: Path) -> None:
    api.fault = fails("hang")
    with calling(api, study=tmp_path, max_tokens=10_000, call_timeout=0.3) as caller:
        late = caller.ask("chat")
        api.__exit__()
        gone = caller.ask("messages")
        api.__init__(lambda _: TEXT)  # type: ignore[misc]
        api.__enter__()
    assert late.status_code == 504 and gone.status_code == 502 and gone.json()["type"] == "error"
    assert caller.events[0]["lost_tokens"] > 2000 and caller.events[1]["lost_tokens"] == 0


def test_a_call_that_the_agent_leaves_is_read_to_its_end(api: ApiServer) -> None:
    api.fault = fails("slow")
    with calling(api) as caller:
        with caller.client.stream(
            "POST", PATHS["chat"], json=body("chat", stream=True), headers=caller.key("chat")
        ) as response:
            next(response.iter_text())
        api.release.set()
        assert _until(lambda: bool(caller.events))
    assert caller.events[0]["status"] == "ok" and caller.events[0]["tokens"] == sum(api.billed)


def test_what_is_in_flight_at_the_end_is_settled(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_gateway, "_DRAIN_SECONDS", 0.1)
    api.fault = fails("hang")
    with calling(api, study=tmp_path, max_tokens=10_000, call_timeout=30) as caller:
        thread = threading.Thread(target=_leave, args=(caller,), daemon=True)
        thread.start()
        assert _until(lambda: len(api.seen) == 1)
    [call] = caller.events
    assert call["status"] == "failed" and call["lost_tokens"] == Purse(tmp_path, max_tokens=10_000).spent().tokens > 0
    api.closing.set()
    thread.join(20)
    assert len(caller.events) == 1


def _leave(caller: Caller) -> None:
    with suppress(httpx.HTTPError, RuntimeError):
        caller.ask("chat")


def test_numbers_go_on_where_a_run_was_cut(api: ApiServer) -> None:
    before = [{"kind": "call", "run_id": "r0", "number": 6, "status": "ok"}, {"kind": "call", "number": 9}]
    with calling(api, recorded=before) as caller:
        caller.ask("chat")
    assert caller.events[0]["number"] == 7
