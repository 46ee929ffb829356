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


def test_a_model_has_the_size_of_the_table(litellm_loaded: None) -> None:
    assert longest("gpt-4o-mini", "input") == 128_000 and longest(MODEL, "input") is None
    assert settled(ModelConfig(models=(MODEL,))).context_tokens is None
    config = settled(ModelConfig(models=("gpt-4o-mini", "gpt-4")))
    assert config.context_tokens == 8192 and config.reply_tokens == 1638


def test_the_users_size_counts_and_a_reply_must_leave_room(litellm_loaded: None) -> None:
    config = settled(ModelConfig(models=("gpt-4o-mini",), context_tokens=2048, reply_tokens=500))
    assert (config.context_tokens, config.reply_tokens) == (2048, 500)
    with pytest.raises(UsageError, match="leaves no room"):
        settled(ModelConfig(models=(MODEL,), context_tokens=2048, reply_tokens=2048))
    ask = [Message("user", "x" * 3 * (2048 - 500 - 32))]
    assert fits(ask, 2048, 500) and not fits(ask, 2048, 501) and not fits(ask, 2048, 500, 1)
    assert fits(ask, None, 10**9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_refuses_a_long_prompt_is_asked_once(
    kind: str, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp's older versions send status 500, which would be retried otherwise."""
    events = list[Event]()
    with local(monkeypatch, kind) as server:
        client = model_client(events)
        assert ask(client, 12_000) == "hello"
        with pytest.raises(NoReply) as gone:
            ask(client, 20_000)
        assert len(server.refused) == 1 and len(server.seen) == 2
    assert isinstance(gone.value.problem, PromptTooLong) and "larger context" in gone.value.problem.hint
    assert "litellm" not in gone.value.problem.message and "Exception" not in gone.value.problem.message
    assert events[-1]["status"] == "failed" and events[-1]["attempts"] == 1 and not events[-1]["lost_tokens"]


def test_a_larger_fallback_answers_a_long_prompt(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with local(monkeypatch, "llama.cpp") as server:
        server.fault = lambda number, _: setattr(server, "context", 4096 if number % 2 == 0 else 99_999)
        assert ask(model_client(models=("openai/small", "openai/large")), 20_000) == "hello"
        assert [body["model"] for body in server.seen] == ["small", "large"]


def test_a_recording_has_the_refusal(tmp_path: Path, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = tmp_path / "tape"
    with local(monkeypatch, "llama.cpp"), pytest.raises(NoReply):
        ask(model_client(record=tape), 20_000)
    with pytest.raises(NoReply) as gone:
        ask(model_client(replay=tape), 20_000)
    assert isinstance(gone.value.problem, PromptTooLong)
