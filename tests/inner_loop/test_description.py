"""What researchers say of themselves before a study starts: `inner_loop.researchers.description`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inner_loop.agents import recipe as agent_recipe
from inner_loop.researchers import RESEARCHERS
from inner_loop.researchers.command import UNCONFINED
from inner_loop.researchers.description import MAY_COST, ResearcherDescription, describe
from inner_loop.run_context import LIMITS, ModelConfig
from programs.common.errors import CredentialMissing, EnvironmentProblem, NotFound, UsageError
from tests.llm.gateway import OPENAI_KEY
from trainer.task import Task

MODEL = ModelConfig(models=("openai/test",))


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("OPENAI_API_KEY", "CODEX_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    for name in (*keys, "OPENAI_BASE_URL", "OPENAI_API_BASE", "METALOOP_REPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("researcher", [*RESEARCHERS.built_in, "command:codex"])
def test_researcher_of_each_kind_is_described(researcher: str) -> None:
    description = describe(researcher)
    assert description.name == researcher and description.more == researcher.partition(":")[2]


def test_researcher_without_a_description_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(RESEARCHERS), "get", lambda *_: lambda program, task, seed, context: None)
    plain, task, config = describe("sweep"), Task.load("strokes"), ModelConfig()
    plain.preflight(config, True)
    plain.try_once(task, config, True)
    assert type(plain) is ResearcherDescription and plain.installed() == {} and plain.settle(config, True) == config
    assert not plain.asks_consent(config, True) and plain.cost_line(task, config, 9) == ("", {})


@pytest.mark.parametrize(
    ("researcher", "config", "sandboxed", "error", "message"),
    [
        ("clod", {}, True, NotFound, "no researcher 'clod'"),
        ("command:clod", {}, True, NotFound, "no recipe for an agent 'clod'"),
        ("scripted:x", {}, True, UsageError, "scripted:x: scripted takes no name after a colon"),
        ("chat:x", {}, True, UsageError, "chat:x: chat takes no name after a colon"),
        ("chat", {}, True, UsageError, "a chat researcher needs a model"),
        (
            "command",
            {"agent": "true", "agent_network": "none"},
            False,
            UsageError,
            "agent_network is for an agent in a",
        ),
        ("command", {"agent": "no-such-program"}, False, EnvironmentProblem, "'no-such-program' is not installed"),
    ],
)
def test_researcher_that_cannot_start_is_refused(
    researcher: str, config: dict[str, Any], sandboxed: bool, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        describe(researcher).preflight(ModelConfig(**config), sandboxed)


@pytest.mark.parametrize("researcher", ["scripted", "chat", "command:codex"])
def test_models_need_a_key_and_an_agreement(researcher: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    description = describe(researcher)
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CredentialMissing):
        description.preflight(MODEL, False)
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    description.preflight(MODEL, False)
    assert description.asks_consent(MODEL, True) == MAY_COST and description.is_metered(MODEL)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert not description.asks_consent(MODEL, True)


def test_chat_that_is_replayed_needs_the_models_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = describe("chat")
    monkeypatch.setenv("METALOOP_REPLAY", "tape")
    chat.preflight(MODEL, True)
    chat.try_once(Task.load("strokes"), MODEL, True)
    assert chat.cost_line(Task.load("strokes"), MODEL, 9)[0] == "replayed, no model is called"
    with pytest.raises(UsageError, match="a chat researcher needs a model"):
        chat.preflight(ModelConfig(), True)


def test_the_cost_of_chat_has_its_limits_and_asks_for_a_price() -> None:
    price, facts = describe("chat").cost_line(Task.load("strokes"), MODEL, 9)
    assert "not priced; its price: --set prices=openai/test=IN/OUT" in price
    assert facts["researcher"] == "chat" and facts["usd"] is None and facts["call_timeout_s"] == 300.0
    priced = ModelConfig(models=MODEL.models, prices={"openai/test": (1.0, 2.0)}, max_usd=1e-9)
    assert "--set prices" not in describe("chat").cost_line(Task.load("strokes"), priced, 9)[0]
    assert set(LIMITS) < set(ModelConfig.model_fields)
    stored = ModelConfig(models=("a",), max_usd=1.0, patience=9.0)
    resumed = stored.with_limits(ModelConfig(models=("b",), max_usd=2.0, reply_tokens=7))
    assert resumed == ModelConfig(models=("a",), max_usd=2.0, patience=9.0), "a resumed study has other limits alone"


def test_an_agent_says_whether_its_calls_are_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_recipe, "find", lambda recipe: None)
    codex, own, direct = describe("command:codex"), describe("command"), ModelConfig(agent_direct=True)
    task = Task.load("strokes")
    with pytest.raises(CredentialMissing, match="codex needs CODEX_API_KEY or OPENAI_API_KEY") as missing:
        codex.preflight(ModelConfig(), True)
    assert "--set agent_direct=true" in missing.value.hint
    for agent, config in ((codex, direct), (own, ModelConfig(agent="mine"))):
        agent.preflight(config, True)
        assert not agent.is_metered(config)
        with pytest.raises(UsageError, match=r"at most \$5: the agent's model calls are not priced"):
            agent.preflight(config.model_copy(update={"max_usd": 5.0}), True)
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    codex.preflight(ModelConfig(), True)
    capped = ModelConfig(max_usd=5.0, max_tokens=1000)
    assert "calls of openai are metered, at most $5 and 1000 tokens" in codex.cost_line(task, capped, 9)[0]
    assert "not capped; it has this machine's network" in codex.cost_line(task, direct, 9)[0]
    assert codex.asks_consent(direct, True) == MAY_COST and codex.asks_consent(direct, False) == UNCONFINED


def test_an_agent_without_a_key_uses_the_login_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    codex, direct = describe("command:codex"), ModelConfig(agent_direct=True)
    assert codex.settle(ModelConfig(), False) == direct  # the login may be anywhere
    assert codex.settle(ModelConfig(), True) == ModelConfig()
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").write_text("{}")
    assert codex.settle(ModelConfig(), True) == direct
    assert codex.settle(ModelConfig(max_usd=1.0), True).agent_direct is False
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    assert codex.settle(ModelConfig(), True) == ModelConfig()
