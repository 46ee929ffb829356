"""The context size of models, and prompts that local servers refuse as too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inner_loop.bench import NoReply
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message, PromptTooLong, fits
from inner_loop.models.prices import longest, settled
from inner_loop.run_context import ModelConfig
from programs.common.errors import UsageError
from tests.llm.fixtures import close_connections, dropped
from tests.llm.kits import MODEL, Event, environment, model_client
from tests.llm.local import KINDS, LocalServer

pytestmark = dropped


@contextmanager
def local(patch: pytest.MonkeyPatch, kind: str, size: int = 4096) -> Iterator[LocalServer]:
    with LocalServer(kind, size, answer=lambda _: "hello") as running:
        environment(patch, running.url)
        yield running
        close_connections()


def ask(client: ModelClient, size: int) -> str:
    words = ("word " * (size // 5 + 1))[:size]
    return client.complete([Message("user", words)], max_tokens=50, purpose="turn").text


def test_context_of_a_model_is_the_tables_or_the_users(litellm_loaded: None) -> None:
    assert longest("gpt-4o-mini", "input") == 128_000 and longest(MODEL, "input") is None
    own = settled(ModelConfig(models=("gpt-4o-mini",), context_tokens=2048, reply_tokens=500))
    found = [*(settled(ModelConfig(models=models)) for models in ((MODEL,), ("gpt-4o-mini", "gpt-4"))), own]
    assert [config.context_tokens for config in found] == [None, 8192, 2048]
    assert [config.reply_tokens for config in found[1:]] == [1638, 500]
    with pytest.raises(UsageError, match="leaves no room"):
        settled(ModelConfig(models=(MODEL,), context_tokens=2048, reply_tokens=2048))
    ask = [Message("user", "x" * 3 * (2048 - 500 - 32))]
    assert fits(ask, 2048, 500) and not fits(ask, 2048, 501) and not fits(ask, 2048, 500, 1)
    assert fits(ask, None, 10**9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_refuses_a_long_prompt_is_asked_once(
    kind: str, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """llama.cpp's older versions send status 500, which would be retried otherwise."""
    events = list[Event]()
    with local(monkeypatch, kind) as server:
        client = model_client(events, record=tmp_path / "tape")
        assert ask(client, 12_000) == "hello"
        with pytest.raises(NoReply) as gone:
            ask(client, 20_000)
        assert len(server.refused) == 1 and len(server.seen) == 2
    assert isinstance(gone.value.problem, PromptTooLong) and "larger context" in gone.value.problem.hint
    assert "litellm" not in gone.value.problem.message and "Exception" not in gone.value.problem.message
    assert events[-1]["status"] == "failed" and events[-1]["attempts"] == 1 and not events[-1]["lost_tokens"]
    replayed = model_client(replay=tmp_path / "tape")
    assert ask(replayed, 12_000) == "hello"
    with pytest.raises(NoReply) as again:
        ask(replayed, 20_000)
    assert isinstance(again.value.problem, PromptTooLong)


def test_a_larger_fallback_answers_a_long_prompt(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with local(monkeypatch, "llama.cpp") as server:
        server.fault = lambda number, _: setattr(server, "context", 4096 if number % 2 == 0 else 99_999)
        assert ask(model_client(models=("openai/small", "openai/large")), 20_000) == "hello"
        assert [body["model"] for body in server.seen] == ["small", "large"]
