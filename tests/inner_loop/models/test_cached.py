"""Prompts that a provider has cached: what is marked, told and paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.models.provider import TokenUsage, litellm
from inner_loop.models.spend_limiter import SpendLimiter
from tests.llm.claude import ClaudeServer
from tests.llm.fixtures import close_connections, dropped
from tests.llm.kits import KEY, MODEL, Event, model_client, staff
from tests.llm.server import LlmServer
from trainer.task import Task

pytestmark = dropped
CLAUDE, GPT = "anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini"
HEAD = Message("system", "The program, and how to reply. " * 200)


def ask(client: ModelClient, text: str = "hello?", tokens: int = 50) -> None:
    client.complete([HEAD, Message("user", text)], max_tokens=tokens, purpose="turn")


def test_what_openai_has_cached_is_cheaper(server: LlmServer) -> None:
    events = list[Event]()
    ask(model_client(events, models=(GPT,)))
    (event,) = events
    info = litellm().get_model_info(GPT)
    cached = event["tokens_cached"]
    assert 1024 < cached < event["tokens_in"]
    plain = (event["tokens_in"] - cached) * info["input_cost_per_token"]
    said = event["tokens_out"] * info["output_cost_per_token"]
    expected = plain + cached * info["cache_read_input_token_cost"] + said
    assert event["usd"] == pytest.approx(expected, rel=1e-6) and info["cache_read_input_token_cost"] > 0


def test_price_may_have_a_third_figure_for_cached_tokens(server: LlmServer) -> None:
    dollars = []
    for price in ((2.0, 4.0), (2.0, 4.0, 0.5)):
        events = list[Event]()
        ask(model_client(events, prices={MODEL: price}))
        (event,) = events
        asked, cached = event["tokens_in"], event["tokens_cached"]
        rate = price[2] if len(price) > 2 else 2.0
        expected = ((asked - cached) * 2.0 + cached * rate + event["tokens_out"] * 4.0) / 1e6
        assert event["usd"] == pytest.approx(expected) and cached > 0
        dollars.append(event["usd"])
    assert dollars[1] < 0.6 * dollars[0]


@pytest.mark.parametrize("given", [{}, {CLAUDE: (3.0, 15.0, 0.3)}])
def test_what_anthropic_caches_is_marked_told_and_priced(
    litellm_loaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, Any]
) -> None:
    """The first call writes the head of the prompt, which costs a quarter more; the second one reads it for a tenth."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    events = list[Event]()
    with ClaudeServer() as claude:
        monkeypatch.setenv("ANTHROPIC_API_BASE", claude.url)
        client = model_client(events, models=(CLAUDE,), prices=given, max_usd=5.0, study=tmp_path, call_timeout=60)
        ask(client, "one")
        ask(client, "two")
        close_connections()
    marked = [body["system"] for body in claude.seen]
    assert marked[0] == marked[1] and marked[0][0]["cache_control"] == {"type": "ephemeral"}
    assert not any("cache_control" in str(body["messages"]) for body in claude.seen)
    size = claude.usages[0]["cache_creation_input_tokens"]
    assert size == claude.usages[1]["cache_read_input_tokens"] > 1000
    assert [event["tokens_in"] for event in events] == [40 + size] * 2
    assert [event["tokens_cached"] for event in events] == [0, size]
    plain = 40 * 3e-6 + 7 * 15e-6
    assert events[0]["usd"] == pytest.approx(plain + size * 3.75e-6)
    assert events[1]["usd"] == pytest.approx(plain + size * 0.3e-6)
    assert SpendLimiter(tmp_path).spent().usd == pytest.approx(sum(e["usd"] for e in events))


def test_the_bill_knows_what_is_cached(litellm_loaded: None) -> None:
    task, team = Task.load("strokes"), staff(models=(CLAUDE,))
    price, bill = prices.price_of(CLAUDE, team), prices.estimate(task, team, 10)
    head = prices.FRAME + prices.PROGRAM + prices.KNOB * len(task.edits.knobs)
    tokens_in, tokens_out = bill.tokens // 10 - prices.SAID, prices.SAID
    assert price is not None and bill.usd is not None and head > 1024
    first, later = TokenUsage(tokens_in, tokens_out, 0, head), TokenUsage(tokens_in, tokens_out, head)
    assert bill.usd == pytest.approx(price.cost(first) + 9 * price.cost(later))
    assert prices.estimate(task, staff(), 10).usd is None
    assert "not priced" in prices.bill_line(prices.estimate(task, staff(), 10), staff())
