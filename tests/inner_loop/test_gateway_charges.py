"""What calls through the gateway cost: caps that hold, and whatever an API does, over real HTTP on both sides."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from inner_loop.events import CallEvent
from inner_loop.gateway import server as agent_gateway
from inner_loop.gateway.call_meter import ReplyReader
from inner_loop.gateway.route import COMMON, routes
from inner_loop.gateway.server import Gateway
from inner_loop.models.spend_limiter import SpendLimiter
from programs.common.errors import CapReached, UsageError
from tests.events import example
from tests.llm import server
from tests.llm.apis import ApiServer
from tests.llm.fixtures import litellm_loaded
from tests.llm.gateway import (
    ANTHROPIC_KEY,
    KINDS,
    OPENAI_KEY,
    PATHS,
    PRICES,
    TEXT,
    Caller,
    api,
    body,
    calling,
    fails,
    said,
    until,
)
from tests.llm.kits import kit
from tests.llm.wild import WildServer, whole
from tests.serving import together

__all__ = ["api", "litellm_loaded"]
pytestmark = pytest.mark.usefixtures("litellm_loaded")


@pytest.mark.parametrize("kind", KINDS)
def test_call_after_the_cap_is_402_and_ends_the_run(api: ApiServer, kind: str, tmp_path: Path) -> None:
    with calling(api, study=tmp_path, max_tokens=1300) as caller:
        answers = [caller.ask(kind) for _ in range(60)]
        codes = [answer.status_code for answer in answers]
        passed, error = codes.index(402), answers[-1].json()["error"]
        assert passed > 5 and set(codes[passed:]) == {402}
        assert "--set max_tokens=1300 is reached" in error["message"]
        assert answers[-1].headers["x-should-retry"] == "false"
        assert (error["type"], error["code"]) == ("billing_error", "insufficient_quota")
        assert isinstance(caller.gateway.meter.problem, CapReached)
    spent, told = SpendLimiter(tmp_path).spent(), [call["tokens"] for call in caller.events]
    assert spent.tokens == sum(api.billed) == sum(told) and 1300 <= spent.tokens < 1300 + told[-1]
    assert len(api.seen) == len(caller.events) == passed


def test_calls_at_once_pass_a_cap_by_less_than_one(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.02
    with calling(api, study=tmp_path, max_usd=0.003, prices=PRICES, calls_at_once=6) as caller:
        codes: list[int] = []

        def work(_: int) -> None:
            for _ in range(10):
                codes.append(caller.ask("chat", stream=len(codes) % 2 == 0).status_code)

        together(8, work)
    assert api.most_at_once <= 6 and codes.count(200) == len(caller.events) > 10 and codes.count(402) > 0
    spent = sum(call["usd"] for call in caller.events)
    assert spent == pytest.approx(api.billed[0] * 1e-6 + api.billed[1] * 2e-6)
    assert 0.003 <= spent < 0.003 + max(call["usd"] for call in caller.events)
    assert sorted(call["number"] for call in caller.events) == list(range(len(caller.events)))


def test_cap_by_bytes_is_passed_by_one_call(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rare letters and random text take a token a byte; 24 calls at once may exceed a cap by one of them."""
    monkeypatch.setattr(server, "tokens_of", len)
    api.delay, cap = 0.05, 40_000
    with calling(api, study=tmp_path, max_tokens=cap, calls_at_once=24) as caller:
        long = {"messages": [{"role": "user", "content": "x" * 6_000}], "max_tokens": 100}
        together(24, lambda _: caller.ask("chat", **long))
        while caller.gateway.meter.problem is None:
            assert caller.ask("chat", **long).status_code in (200, 402)
    spent = [call["tokens"] for call in caller.events]
    assert max(spent) > 6_000 and cap <= sum(spent) < cap + max(spent)


def test_prompt_estimate_without_usage_is_one_token_a_byte(api: ApiServer) -> None:
    """Of a picture what it costs, whatever its size."""
    api.fault = fails("silent")
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO" * 100_000}}
    with calling(api) as caller:
        for part in ({"type": "text", "text": "x" * 90_000}, picture):
            assert caller.ask("messages", messages=[{"role": "user", "content": [part]}]).status_code == 200
    long, pictured = (call["lost_tokens"] for call in caller.events)
    assert 90_000 < long < 94_000 and 50_000 < pictured < 54_000


@pytest.mark.parametrize("price", [{}, {"anthropic/claude-sonnet-4-5": (3.0, 15.0)}])
def test_writing_to_a_one_hour_cache_costs_twice_the_input(price: Any, tmp_path: Path) -> None:
    """As Anthropic bills it, by LiteLLM's price and by the user's; before the reply the estimate has it as well."""
    hour = {"type": "text", "text": "x" * 10_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    asked = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": [hour]}]}
    cache = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1_000_000}
    usage = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 1_000_000, "cache_creation": cache}
    for told in (usage, None):
        answer = [whole(json.dumps({"model": "m", "stop_reason": "end_turn", "usage": told}).encode())]
        with WildServer(partial(iter, answer)) as api, calling(api, study=tmp_path, prices=price) as caller:
            assert caller.ask("messages", **asked).status_code == 200
        (event,) = caller.events
        if told:
            assert event["usd"] == pytest.approx(6.0)
        else:
            assert event["lost_usd"] > 2 * 10_000 * 3e-6 + 200 * 15e-6


def test_cap_in_dollars_without_a_price_refuses_the_call(api: ApiServer) -> None:
    """Without a cap, the call is counted; its number follows those of the run that is resumed."""
    with calling(api, max_usd=1.0) as caller:
        response, problem = caller.ask("chat", model="nobody-knows"), caller.gateway.meter.problem
        assert response.status_code == 402 and "no price is known for nobody-knows" in response.text
        assert isinstance(problem, UsageError) and "--set prices=openai/nobody-knows=" in problem.hint
    assert not api.seen and not caller.events
    before = [example(CallEvent, run_id="r0", number=6).to_record(), example(CallEvent, number=9).to_record()]
    with calling(api, recorded=before) as caller:
        assert caller.ask("chat", model="nobody-knows").status_code == 200
    (event,) = caller.events
    assert (event["usd"], event["tokens"], event["number"]) == (None, sum(api.billed), 7)


def test_api_that_is_not_there_is_502_and_free(api: ApiServer, tmp_path: Path) -> None:
    with ApiServer(lambda _: TEXT) as gone:
        pass
    with calling(gone, study=tmp_path, max_tokens=10_000) as caller:
        response = caller.ask("messages")
    assert response.status_code == 502 and response.json()["type"] == "error"
    assert caller.events[0]["lost_tokens"] == 0


def test_estimate_of_a_call_is_by_its_longest_reply(api: ApiServer) -> None:
    """The agent's length, else the model's (gpt-5 may answer 128,000 tokens), else that of no known model."""
    api.fault = fails("silent")
    with calling(api) as caller:
        for more in ({"model": "gpt-5"}, {"model": "nobody-knows"}, {"max_output_tokens": 64_000}):
            assert caller.ask("responses", **{"max_output_tokens": None} | more).status_code == 200
    known, unknown, given = (call["lost_tokens"] for call in caller.events)
    assert [n // 1000 * 1000 for n in (known, unknown, given)] == [130_000, 34_000, 66_000]


# --- faults --------------------------------------------------------------------------------------------------------


FAULTY = {"drop": 502, "silent": 200, "429": 429, "500": 500, "503": 503, "400": 400, "401": 401, "hang": 504}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTY)
def test_fault_of_an_api_is_answered_and_charged(api: ApiServer, fault: str, stream: bool, tmp_path: Path) -> None:
    """Errors pass and cost nothing. A reply that breaks off or reports no usage has cost the estimate."""
    api.fault = fails(fault)
    with calling(api, study=tmp_path, max_tokens=100_000, call_timeout=0.3 if fault == "hang" else 60) as caller:
        kinds = KINDS[1:] if (fault, stream) == ("silent", False) else KINDS  # the test server counts a whole chat
        for kind in kinds:
            if fault == "drop" and stream:
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):  # no regular end
                    caller.ask(kind, stream=True)
                continue
            response = caller.ask(kind, stream=stream)
            assert response.status_code == FAULTY[fault]
            if fault == "silent":
                assert said(response, kind) == TEXT
            else:
                assert response.json()["error"]["message"]
            assert (response.headers.get("retry-after") == "0.01") == (fault == "429")
    assert [call["status"] for call in caller.events] == ["ok" if fault == "silent" else "failed"] * len(kinds)
    lost = [call["lost_tokens"] for call in caller.events]
    assert all(call["tokens"] == 0 for call in caller.events)
    assert min(lost) > 2000 if fault in ("drop", "silent", "hang") else max(lost) == 0
    assert SpendLimiter(tmp_path).spent().tokens == sum(lost)


def test_key_in_a_reply_is_redacted(api: ApiServer) -> None:
    api.fault = fails("echo")
    with calling(api) as caller:
        response = caller.ask("chat")
        api.fault, api.answer = lambda _n, _b: None, lambda _: f"your key is {OPENAI_KEY}, isn't it {ANTHROPIC_KEY}?"
        replies = [caller.ask(kind, stream=stream).text for kind in KINDS for stream in (False, True)]
    assert "[secret]" in response.text
    for text in [response.text, *replies, str(caller.events)]:
        assert OPENAI_KEY not in text and ANTHROPIC_KEY not in text


def test_key_that_is_a_common_word_is_not_redacted(api: ApiServer) -> None:
    """A local server takes any key, such as `m`."""
    found = routes(COMMON, {"OPENAI_API_KEY": "m\n", "OPENAI_BASE_URL": api.url})
    with Gateway(COMMON, found, kit(models=("m",)), shared=True) as gateway:
        key = {"Authorization": f"Bearer {gateway.token}"}
        address = gateway.bases()["openai"] + "/chat/completions"
        assert said(httpx.post(address, json=body("chat"), headers=key), "chat") == TEXT and "m" in TEXT
    assert api.keys == ["m"] and [route.name for route in found] == ["openai"]


def test_address_that_is_wrong_is_refused_without_its_text() -> None:
    for wrong in ("api.example.com", "ftp://x", "https://me:secret@x/v1", "https://x/v1?key=1", "http://x:y/"):
        with pytest.raises(UsageError, match="OPENAI_BASE_URL is not the address") as error:
            routes(COMMON, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": wrong})
        assert wrong not in error.value.message + error.value.hint


def test_call_that_the_agent_leaves_is_read_to_its_end(api: ApiServer) -> None:
    api.fault = fails("slow")
    with calling(api) as caller:
        asked: dict[str, Any] = {"json": body("chat", stream=True), "headers": caller.key("chat")}
        with caller.client.stream("POST", PATHS["chat"], **asked) as response:
            next(response.iter_text())
        api.release.set()
        assert until(lambda: bool(caller.events))
    assert caller.events[0]["status"] == "ok" and caller.events[0]["tokens"] == sum(api.billed)


def test_call_in_flight_at_the_end_is_settled(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_gateway, "_DRAIN_SECONDS", 0.1)
    api.fault = fails("hang")

    def leave(caller: Caller) -> None:
        with suppress(httpx.HTTPError, RuntimeError):
            caller.ask("chat")

    with calling(api, study=tmp_path, max_tokens=10_000, call_timeout=30) as caller:
        thread = threading.Thread(target=leave, args=(caller,), daemon=True)
        thread.start()
        assert until(lambda: len(api.seen) == 1)
    [call] = caller.events
    spent = SpendLimiter(tmp_path).spent().tokens
    assert call["status"] == "failed" and call["lost_tokens"] == spent > 0
    api.closing.set()
    thread.join(20)
    assert len(caller.events) == 1


@pytest.mark.parametrize(
    ("kind", "reply", "finish"),
    [
        ("responses", {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("responses", {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("responses", {"status": "incomplete"}, "incomplete"),
        ("responses", {"status": "completed", "incomplete_details": {"reason": "x"}}, "stop"),
        ("chat", {"choices": [{"finish_reason": "length"}]}, "length"),
        ("chat", {"choices": []}, ""),
        ("messages", {"stop_reason": "end_turn"}, "stop"),
        ("messages", {"stop_reason": "refusal"}, "content_filter"),
    ],
)
def test_end_of_a_reply_has_one_word_in_all_apis(kind: Any, reply: dict[str, Any], finish: str) -> None:
    reading = ReplyReader()
    reading.read_whole(json.dumps(reply | {"model": "m"}).encode())
    assert (reading.finish, reading.model, reading.has_ended) == (finish, "m", True)


def test_stream_has_ended_with_its_usage() -> None:
    def after(*chunks: dict[str, Any]) -> tuple[str, bool, Any]:
        reading = ReplyReader()
        for chunk in chunks:
            assert not reading.has_ended
            reading.read_event(b"data: " + json.dumps(chunk).encode())
        return reading.finish, reading.has_ended, reading.counts

    usage = {"prompt_tokens": 3}
    odd: list[dict[str, Any]] = [{"model": "m"}, {"choices": None}, {"choices": []}, {"choices": "x"}]
    assert after(*odd)[:2] == ("", False)
    assert after(*odd, {"choices": [{"finish_reason": "stop"}]})[:2] == ("stop", False)
    assert after({"choices": [], "usage": usage})[1:] == after({"usage": usage})[1:] == (True, usage)
    assert not after({"type": "message_delta", "usage": {"output_tokens": 3}})[1]
    ends = [{"type": f"response.{name}", "response": {"usage": counts}} for name, counts in
            (("created", {}), ("incomplete", {"input_tokens": 3}))]  # fmt: skip
    assert after(*ends)[1:] == (True, {"input_tokens": 3})
