"""Usage as each API reports it, and prompts that a provider has cached: what is marked, told and paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.models.provider import TokenUsage, litellm, marked, reported
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


def test_price_may_have_a_third_figure_for_cached_tokens(server: LlmServer) -> None:
    """LiteLLM's of a model that it knows, or the user's."""
    info = litellm().get_model_info(GPT)
    known = (info["input_cost_per_token"], info["output_cost_per_token"], info["cache_read_input_token_cost"])
    for model, prices_, rates in (
        (MODEL, {MODEL: (2.0, 4.0)}, (2e-6, 4e-6, 2e-6)), (MODEL, {MODEL: (2.0, 4.0, 0.5)}, (2e-6, 4e-6, 5e-7)),
        (GPT, {}, known),
    ):  # fmt: skip
        events = list[Event]()
        ask(model_client(events, models=(model,), prices=prices_))
        (event,) = events
        asked, cached = event["tokens_in"], event["tokens_cached"]
        costs = zip(rates, (asked - cached, event["tokens_out"], cached), strict=True)
        assert event["usd"] == pytest.approx(sum(rate * tokens for rate, tokens in costs), rel=1e-6) and cached >= 1024
    assert 0 < known[2] < known[0]


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
    assert marked(CLAUDE) and not marked("openai/claude-x")
    systems = [body["system"] for body in claude.seen]
    assert systems[0] == systems[1] and systems[0][0]["cache_control"] == {"type": "ephemeral"}
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


ANTHROPIC: dict[str, Any] = {
    "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 40,
    "cache_creation": {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 10},
}  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (ANTHROPIC, TokenUsage(70, 5, 20, 40, 30)),  # it counts cached tokens apart
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 99}}, TokenUsage(70, 5, 20, 40, 40)),
        ({"input_tokens": 0, "output_tokens": 5}, TokenUsage(0, 5)),
        (
            {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}},
            TokenUsage(10, 5, 4),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
            TokenUsage(10, 5, 4),
        ),
        (  # LiteLLM, of Anthropic's
            {
                "prompt_tokens": 70, "completion_tokens": 5, "cache_creation_input_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 20, "cache_creation_tokens": 40},
            },
            TokenUsage(70, 5, 20, 40),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}}, TokenUsage(10, 0, 10)),
        (ANTHROPIC | {"output_tokens": -1}, None),
        (ANTHROPIC | {"cache_read_input_tokens": True}, None),
        (ANTHROPIC | {"output_tokens": 1 << 40}, None),
        (ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": "1"}}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ([1], None),
        (None, None),
    ],
)  # fmt: skip
def test_what_is_reported(usage: Any, found: TokenUsage | None) -> None:
    assert reported(usage) == found
