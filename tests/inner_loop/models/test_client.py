"""Calls through the real LiteLLM to a real server: what comes back, what is told, and what faults do."""

from __future__ import annotations

import pytest

from inner_loop.bench import NoReply
from inner_loop.events import CallEvent
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from programs.common.errors import Corrupt, CredentialMissing
from tests.llm.fixtures import dropped
from tests.llm.kits import KEY, MODEL, Event, model_client
from tests.llm.server import FAULTS, LlmServer

ASKED = [Message("system", "be brief"), Message("user", "hello?", "\nlog: 1.23 s")]
pytestmark = dropped


def ask(client: ModelClient, *asked: Message) -> CallEvent:
    return client.complete(asked or ASKED, max_tokens=50, purpose="turn")


def test_a_reply_and_its_event(server: LlmServer) -> None:
    events = list[Event]()
    reply = ask(model_client(events))
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
    events = list[Event]()
    waiting = {"call_timeout": 2.0} if kind == "hang" else {}
    assert ask(model_client(events, **waiting)).text == "hello"
    assert events[0]["attempts"] == 3 and len(events[0]["faults"]) == 2
    assert bool(events[0]["lost_tokens"]) == (kind in ("drop", "hang", "malformed"))


@pytest.mark.parametrize(
    ("kind", "status", "finish", "attempts"),
    [
        ("filter", "refused", "content_filter", 1),
        ("truncated", "truncated", "length", 1),
        ("refusal", "ok", "stop", 1),
        ("empty", "empty", "stop", 3),
    ],
)
def test_bad_reply_is_reported_to_caller(server: LlmServer, kind: str, status: str, finish: str, attempts: int) -> None:
    """A filter that leaves nothing of a reply has answered: it is not asked again, unlike one that said nothing."""
    server.fault = lambda number, _: kind
    events = list[Event]()
    reply = ask(model_client(events))
    assert (events[0]["status"], reply.finish, reply.attempts) == (status, finish, attempts)
    assert events[0]["tokens"] == sum(server.billed) and (reply.text == "") == (kind in ("filter", "empty"))


def test_retry_after_is_kept(server: LlmServer) -> None:
    server.fault, server.retry_after = (lambda number, _: "429" if number == 0 else None), "0.3"
    # by its own clock it would wait longer than it may
    reply = ask(model_client(backoff=3600.0, patience=100.0))
    assert (reply.status, reply.attempts) == ("ok", 2)


def test_storm_on_one_model_falls_over_to_the_next_for_good(server: LlmServer) -> None:
    server.fault, server.retry_after = (lambda _, body: "429" if body["model"] == "first" else None), "30"
    client = model_client(models=("openai/first", "openai/second"))
    for _ in range(3):
        assert ask(client).model == "openai/second"
    assert [body["model"] for body in server.seen] == ["first", "second", "second", "second"]


def test_a_refused_key_falls_over_and_at_last_is_told(server: LlmServer) -> None:
    server.fault = lambda number, _: "401"
    with pytest.raises(NoReply, match="the key is refused") as gone:
        ask(model_client(models=("openai/a", "openai/b")))
    assert isinstance(gone.value.problem, CredentialMissing) and len(server.seen) == 2


def test_recorded_calls_are_answered_by_number_without_asking(server: LlmServer) -> None:
    """What is volatile is no part of a request."""
    events, again = list[Event](), list[Event]()
    first, texts = model_client(events), [Message("user", "a", "1.23 s"), Message("user", "b", "1.23 s")]
    replies = [ask(first, text) for text in texts]
    client = model_client(again, recorded=[*events, {**events[0], "number": 2, "run_id": "other"}])
    assert [ask(client, Message("user", text, "4.56 s")) for text in "ab"] == replies
    assert again == [] and len(server.seen) == 2
    ask(client)
    assert len(again) == 1 and len(server.seen) == 3
    with pytest.raises(Corrupt, match="call 0 was recorded with request"):
        ask(model_client(recorded=events), texts[1])


def test_refused_request_is_repeated_only_by_a_resumed_run(server: LlmServer) -> None:
    events = list[Event]()
    server.fault = lambda number, _: "400" if number == 0 else None
    with pytest.raises(NoReply, match="the request is refused"):
        ask(model_client(events))
    assert len(server.seen) == 1 and events[0]["status"] == "failed" and events[0]["reason"]
    assert ask(model_client(recorded=events)).text == "hello"


def test_secrets_reach_neither_prompt_nor_event(server: LlmServer) -> None:
    server.answer = lambda _: f"your key is {KEY} \ud800"
    events = list[Event]()
    ask(model_client(events), Message("user", f"my key is {KEY}"))
    assert KEY not in str(server.seen) and KEY not in str(events)
    assert "[secret]" in events[0]["text"] and events[0]["text"].encode("utf-8")
