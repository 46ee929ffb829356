"""Calls through the real LiteLLM to a real server: what comes back, what is told, and what faults do."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message, NoReply
from inner_loop.models.provider import marked
from programs.errors import Corrupt, CredentialMissing, EnvironmentProblem
from tests.llm.fixtures import dropped
from tests.llm.kits import KEY, MODEL, environment, kit
from tests.llm.server import FAULTS, LlmServer, dead_server

ASKED = [Message("system", "be brief"), Message("user", "hello?", "\nlog: 1.23 s")]
pytestmark = dropped


def ask(client: ModelClient, text: str = "hello?") -> str:
    return client.complete([Message("user", text)], max_tokens=50, purpose="turn").text


def test_a_reply_and_its_event(server: LlmServer) -> None:
    events: list[dict[str, Any]] = []
    reply = ModelClient(kit(events), 1).complete(ASKED, max_tokens=50, purpose="turn")
    assert (reply.text, reply.model, reply.finish, reply.usd, reply.attempts) == ("hello", MODEL, "stop", None, 1)
    assert reply.tokens_in > 4 and reply.tokens_out == 2
    (event,) = events
    assert event["kind"] == "call" and event["run_id"] == "r0" and event["number"] == 0 and event["status"] == "ok"
    assert event["tokens"] == reply.tokens and event["usd"] is None and event["text"] == "hello"
    (seen,) = server.seen
    assert seen["messages"][1]["content"] == "hello?\nlog: 1.23 s" and seen["max_tokens"] == 50
    assert server.keys == [KEY]


@pytest.mark.parametrize("kind", [k for k in FAULTS if k not in ("truncated", "refusal")])
def test_a_fault_is_waited_out(server: LlmServer, kind: str) -> None:
    server.fault = lambda number, _: kind if number < 2 else None
    events: list[dict[str, Any]] = []
    waiting = {"call_timeout": 2.0} if kind == "hang" else {}
    assert ask(ModelClient(kit(events, **waiting), 1)) == "hello"
    assert events[0]["attempts"] == 3 and len(events[0]["faults"]) == 2
    assert bool(events[0]["lost_tokens"]) == (kind in ("drop", "hang", "malformed"))


@pytest.mark.parametrize(
    ("kind", "status", "finish"),
    [
        ("filter", "refused", "content_filter"),
        ("truncated", "truncated", "length"),
        ("refusal", "ok", "stop"),
    ],
)
def test_what_a_model_says_badly_is_told_and_the_callers_to_judge(
    server: LlmServer, kind: str, status: str, finish: str
) -> None:
    """A filter that leaves nothing of a reply has answered: it is not asked again, unlike one that said nothing."""
    server.fault = lambda number, _: kind
    events: list[dict[str, Any]] = []
    reply = ModelClient(kit(events), 1).complete(ASKED, max_tokens=50, purpose="turn")
    assert (events[0]["status"], reply.finish, reply.attempts) == (status, finish, 1)
    assert events[0]["tokens"] == sum(server.billed)


def test_a_model_that_always_says_nothing_has_said_nothing(server: LlmServer) -> None:
    server.fault = lambda number, _: "empty"
    events: list[dict[str, Any]] = []
    assert ask(ModelClient(kit(events), 1)) == ""
    assert events[0]["status"] == "empty" and events[0]["attempts"] == 3
    assert events[0]["tokens"] == sum(server.billed)


def test_retry_after_is_kept(server: LlmServer) -> None:
    server.fault, server.retry_after = (lambda number, _: "429" if number == 0 else None), "0.3"
    events: list[dict[str, Any]] = []
    ask(
        ModelClient(kit(events, backoff=3600.0, patience=100.0), 1)
    )  # by its own clock it would wait longer than it may
    assert (events[0]["status"], events[0]["attempts"]) == ("ok", 2)


def test_a_storm_on_one_model_falls_over_to_the_next_and_is_remembered(server: LlmServer) -> None:
    server.fault, server.retry_after = (lambda _, body: "429" if body["model"] == "first" else None), "30"
    client = ModelClient(kit(models=("openai/first", "openai/second")), 1)
    for _ in range(3):
        assert client.complete(ASKED, max_tokens=5, purpose="turn").model == "openai/second"
    assert [body["model"] for body in server.seen] == ["first", "second", "second", "second"]


def test_a_refused_key_falls_over_and_at_last_is_told(server: LlmServer) -> None:
    server.fault = lambda number, _: "401"
    with pytest.raises(NoReply, match="the key is refused") as gone:
        ask(ModelClient(kit(models=("openai/a", "openai/b")), 1))
    assert isinstance(gone.value.problem, CredentialMissing) and len(server.seen) == 2


def test_a_request_that_is_refused_is_not_repeated(server: LlmServer) -> None:
    server.fault = lambda number, _: "400"
    events: list[dict[str, Any]] = []
    with pytest.raises(NoReply, match="the request is refused"):
        ask(ModelClient(kit(events), 1))
    assert len(server.seen) == 1 and events[0]["status"] == "failed" and events[0]["reason"]


def test_a_dead_server_is_waited_for_up_to_a_bound(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with dead_server() as url:
        environment(monkeypatch, url)
        with pytest.raises(NoReply, match="no model answered") as gone:
            ask(ModelClient(kit(patience=0.5, backoff=0.05), 1))
    assert isinstance(gone.value.problem, EnvironmentProblem)


def test_a_request_to_stop_ends_a_wait(server: LlmServer) -> None:
    server.fault, server.retry_after = (lambda number, _: "429"), "60"
    client = ModelClient(kit(patience=100.0), 1)
    threading.Timer(0.3, client.close).start()
    with pytest.raises(Stopped):
        ask(client)


def test_calls_of_one_provider_at_a_time(server: LlmServer) -> None:
    server.delay = 0.3
    client = ModelClient(kit(calls_at_once=2), 1)
    threads = [threading.Thread(target=ask, args=(client, str(i))) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.most_at_once == 2


def test_recorded_calls_are_answered_by_number_without_asking(server: LlmServer) -> None:
    events: list[dict[str, Any]] = []
    first = ModelClient(kit(events), 1)
    replies = [first.complete([Message("user", t)], max_tokens=5, purpose="turn") for t in ("a", "b")]
    again: list[dict[str, Any]] = []
    client = ModelClient(kit(again, recorded=[*events, {**events[0], "number": 2, "run_id": "other"}]), 1)
    assert [client.complete([Message("user", t)], max_tokens=5, purpose="turn") for t in ("a", "b")] == replies
    assert again == [] and len(server.seen) == 2
    ask(client, "c")
    assert len(again) == 1 and len(server.seen) == 3


def test_a_recorded_call_that_asked_something_else_is_an_error(server: LlmServer) -> None:
    events: list[dict[str, Any]] = []
    ask(ModelClient(kit(events), 1), "a")
    with pytest.raises(Corrupt, match="call 0 was recorded with request"):
        ask(ModelClient(kit(recorded=events), 1), "b")


def test_a_call_that_failed_is_made_again(server: LlmServer) -> None:
    events: list[dict[str, Any]] = []
    server.fault = lambda number, _: "400" if number == 0 else None
    with pytest.raises(NoReply):
        ask(ModelClient(kit(events), 1))
    assert ask(ModelClient(kit(recorded=events), 1)) == "hello"


def test_what_is_volatile_is_no_part_of_a_request(server: LlmServer) -> None:
    events: list[dict[str, Any]] = []
    ModelClient(kit(events), 1).complete(ASKED, max_tokens=5, purpose="turn")
    other = [ASKED[0], Message("user", "hello?", "\nlog: 4.56 s")]
    assert ModelClient(kit(recorded=events), 1).complete(other, max_tokens=5, purpose="turn").text == "hello"


def test_claude_is_cached_where_it_is_marked_and_only_at_its_own_providers() -> None:
    assert marked("anthropic/claude-x") and not marked("openai/claude-x")


def test_secrets_reach_neither_prompt_nor_event(server: LlmServer) -> None:
    server.answer = lambda _: f"your key is {KEY} \ud800"
    events: list[dict[str, Any]] = []
    ask(ModelClient(kit(events), 1), f"my key is {KEY}")
    assert KEY not in str(server.seen) and KEY not in str(events)
    assert "[secret]" in events[0]["text"] and events[0]["text"].encode("utf-8")
