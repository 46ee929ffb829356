"""The context size of local models: found where servers report it, and a prompt that cannot fit is refused once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inner_loop.models.client import ModelClient
from inner_loop.models.context_size import fits, of_model, settled
from inner_loop.models.contract import Message, NoReply, PromptTooLong
from inner_loop.run_context import ModelConfig
from programs.errors import UsageError
from tests.llm.fixtures import close_connections, dropped
from tests.llm.kits import MODEL, environment, kit
from tests.llm.local import KINDS, LocalServer
from tests.llm.server import LlmServer, dead_server

pytestmark = dropped
REPORTING = ("llama.cpp", "ollama", "vllm")


@contextmanager
def local(patch: pytest.MonkeyPatch, kind: str, size: int = 4096) -> Iterator[LocalServer]:
    with LocalServer(kind, size, answer=lambda _: "hello") as running:
        environment(patch, running.url)
        yield running
        close_connections()


def ask(client: ModelClient, size: int) -> str:
    words = ("word " * (size // 5 + 1))[:size]
    return client.complete([Message("user", words)], max_tokens=50, purpose="turn").text


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_what_the_server_reports_or_unknown(
    kind: str, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local(monkeypatch, kind):
        assert of_model(MODEL) == (4096 if kind in (*REPORTING, "ollama-silent") else None)
        found = settled(ModelConfig(models=(MODEL,)))
        assert found.reply_tokens == (819 if found.context_tokens else 8192)


def test_a_dead_server_and_one_that_reports_nothing_are_unknown(
    litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dead_server() as url:
        environment(monkeypatch, url)
        assert of_model(MODEL) is None
    with LlmServer() as running:
        environment(monkeypatch, running.url)
        assert of_model(MODEL) is None and settled(ModelConfig(models=(MODEL,))).context_tokens is None


def test_a_hosted_model_has_the_size_of_the_table(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert of_model("gpt-4o-mini") == 128_000
    config = settled(ModelConfig(models=("gpt-4o-mini", "gpt-4")))
    assert config.context_tokens == 8192 and config.reply_tokens == 1638


def test_the_users_size_counts_and_a_reply_must_leave_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with dead_server() as url:  # not asked
        environment(monkeypatch, url)
        config = settled(ModelConfig(models=(MODEL,), context_tokens=2048, reply_tokens=500))
        assert (config.context_tokens, config.reply_tokens) == (2048, 500)
        with pytest.raises(UsageError, match="leaves no room"):
            settled(ModelConfig(models=(MODEL,), context_tokens=2048, reply_tokens=2048))
    ask = [Message("user", "x" * 3 * (2048 - 500 - 32))]
    assert fits(ask, 2048, 500) and not fits(ask, 2048, 501) and not fits(ask, 2048, 500, 1)
    assert fits(ask, None, 10**9)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "ollama-silent"])
def test_a_server_that_refuses_a_long_prompt_is_asked_once(
    kind: str, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp's older versions send status 500, which would be retried otherwise."""
    events: list[dict[str, Any]] = []
    with local(monkeypatch, kind) as server:
        client = ModelClient(kit(events), 1)
        assert ask(client, 12_000) == "hello"
        with pytest.raises(NoReply) as gone:
            ask(client, 20_000)
        assert len(server.refused) == 1 and len(server.seen) == 2
    assert isinstance(gone.value.problem, PromptTooLong) and "larger context" in gone.value.problem.hint
    assert "litellm" not in gone.value.problem.message and "Exception" not in gone.value.problem.message
    assert events[-1]["status"] == "failed" and events[-1]["attempts"] == 1 and not events[-1]["lost_tokens"]


def test_a_prompt_that_cannot_fit_is_not_sent(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with local(monkeypatch, "llama.cpp") as server:
        with pytest.raises(NoReply, match="at least 4,166 tokens, the model's context has 4,096; it was not sent"):
            ask(ModelClient(kit(context_tokens=4096), 1), 25_000)
        assert not server.seen
        assert ask(ModelClient(kit(context_tokens=4096, models=(MODEL, "openai/larger")), 1), 12_000) == "hello"


def test_a_prompt_that_the_server_shortened_is_an_error(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama answers such a prompt with status 200, and only the reported tokens show it."""
    events: list[dict[str, Any]] = []
    with local(monkeypatch, "ollama-silent") as server:
        client = ModelClient(kit(events, context_tokens=4096), 1)
        with pytest.raises(NoReply, match="shortened the prompt to 2,050 tokens"):
            ask(client, 20_000)
        assert ask(client, 12_000) == "hello" and len(server.seen) == 2
        assert sum(event["tokens"] for event in events) == sum(server.billed)


def test_a_larger_fallback_answers_a_long_prompt(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with local(monkeypatch, "llama.cpp") as server:
        context = kit(models=("openai/small", "openai/large"))
        server.fault = lambda number, _: setattr(server, "context", 4096 if number % 2 == 0 else 99_999)
        assert ask(ModelClient(context, 1), 20_000) == "hello"
        assert [body["model"] for body in server.seen] == ["small", "large"]


def test_a_recording_keeps_the_size_and_the_refusal(
    tmp_path: Path, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = tmp_path / "tape"
    with local(monkeypatch, "llama.cpp"):
        config = settled(ModelConfig(models=(MODEL,)))
        client = ModelClient(kit(record=tape, context_tokens=config.context_tokens), 1)
        with pytest.raises(NoReply):
            ask(client, 20_000)
    with dead_server() as url:
        environment(monkeypatch, url)
        assert settled(ModelConfig(models=(MODEL,)), replay=tape).context_tokens == 4096
        with pytest.raises(NoReply) as gone:
            ask(ModelClient(kit(replay=tape), 1), 20_000)
    assert isinstance(gone.value.problem, PromptTooLong)
