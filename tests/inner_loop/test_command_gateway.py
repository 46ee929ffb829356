"""An agent in the real sandbox, without a network, whose model is behind the gateway: metered, capped, keyless."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inner_loop.agents.launch import require_start
from inner_loop.run_context import ModelConfig, RunContext
from programs.common.errors import CapReached, EnvironmentProblem, UsageError
from tests.events import of
from tests.inner_loop.test_command import AGENTS, SANDBOXED, Play, agent, play, said
from tests.llm.apis import ApiServer
from tests.llm.fixtures import litellm_loaded
from tests.llm.gateway import ANTHROPIC_KEY, OPENAI_KEY, PRICES, ours
from tests.llm.shell import scripted
from trainer.task import Task

__all__ = ["agent", "litellm_loaded", "play"]
pytestmark = [SANDBOXED, pytest.mark.usefixtures("litellm_loaded")]
KEYS = (OPENAI_KEY, ANTHROPIC_KEY)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with ApiServer(lambda _: "I would try 0.05, or somewhat less.") as server:
        for name, value in ours(server).items():
            monkeypatch.setenv(name, value)
        yield server


def leaked(folder: Path) -> list[str]:
    """Everything below a folder that holds a key, read as bytes."""
    files = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return [str(path) for path in files if any(key.encode() in path.read_bytes() for key in KEYS)]


def test_agent_asks_its_model_through_the_gateway(play: Play, folder: Path, api: ApiServer) -> None:
    played = play("asking.py", 7, folder=folder, agent_network="", prices=PRICES, max_usd=1.0)
    told = of(played.events, "call")
    assert [call["number"] for call in told] == list(range(len(told))) and len(told) >= 6
    assert [sum(call[name] for call in told) for name in ("tokens_in", "tokens_out")] == api.billed
    assert sum(call["usd"] for call in told) == pytest.approx(api.billed[0] * 1e-6 + api.billed[1] * 2e-6)
    assert {call["run_id"] for call in told} == {"r0"} and len(played.experiments) > 4
    assert played.result.state == "finished"
    # the keys were used, and they are nowhere: not in what the agent saw and said, the run's folder, or the ledger
    assert set(api.keys) == {OPENAI_KEY, f"Bearer {OPENAI_KEY}", ANTHROPIC_KEY}
    heard = said(folder)
    assert "OPENAI_API_KEY" in heard and "metaloop-" in heard and "model:" in heard
    assert not any(key in text for key in KEYS for text in (heard, str(played.events))) and not leaked(folder)
    assert not any(key in str(api.seen) for key in KEYS)


def test_agent_calls_the_tools_that_its_model_names(play: Play, folder: Path, api: ApiServer) -> None:
    """As codex, Claude Code, opencode and mini-swe-agent do in `bench.agents`; the page says what is metered."""
    better = "sed -i 's/^LR = .*/LR = 0.1/' train.py && git commit -qam 'larger steps' && experiment"
    api.answer = scripted(lambda said: [] if "run already" in said else ["cat program.md", better, "experiment status"])
    played = play("tool_loop.py", 4, folder=folder)
    decided = [(e["description"], e["decision"]) for e in played.experiments]
    assert decided == [("baseline", "baseline"), ("larger steps", "keep")] and played.result.state == "finished"
    assert "experiment 1 ok: nll" in str(api.seen[2]["messages"][-1]) and "larger steps" in said(folder)
    page = api.seen[0]["messages"][0]["content"]
    assert "## How to run an experiment" in page and "## What is metered" in page
    assert "Only experiments are charged" in page and "All other CPU time" not in page  # with fixed steps


def test_run_at_its_cap_goes_on_with_a_larger_one(play: Play, folder: Path, api: ApiServer) -> None:
    """Also with the network of the machine."""
    (folder / "study").mkdir(parents=True)
    played = play("asking.py", 5, folder=folder, max_tokens=50)
    result, told = played.result, of(played.events, "call")
    assert result.state == "stopped" and isinstance(result.problem, CapReached)
    assert "--set max_tokens=50 is reached" in result.reason and "refused: 402" in said(folder)
    assert sum(call["tokens"] for call in told[:-1]) < 50 <= sum(call["tokens"] for call in told)
    assert len(api.seen) == len(told)
    before = [event for event in played.events if event["kind"] != "agent"]
    again = play("asking.py", 5, folder=folder, agent_network="full", max_tokens=100_000, recorded=before)
    assert again.result.state == "finished" and of(again.events, "call")[0]["number"] == len(told)


def test_key_that_is_named_is_the_token(
    play: Play, folder: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--set agent_env=OPENAI_API_KEY` gives the pass; only `--set agent_direct=true` gives the key."""
    show = "#!/bin/sh\nenv; exit 0\n"
    play(show, 4, folder=folder, agent_env=("OPENAI_API_KEY",))
    assert "OPENAI_API_KEY=metaloop-" in said(folder) and OPENAI_KEY not in said(folder)
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    play(show, 4, folder=folder, agent_env=("OPENAI_API_KEY",), agent_direct=True)
    assert f"OPENAI_API_KEY={OPENAI_KEY}" in said(folder)


def test_first_call_finds_what_the_model_refuses(task: Task, agent: Callable[[str], str], api: ApiServer) -> None:
    def first_call(text: str, sandboxed: bool = True, models: tuple[str, ...] = ("m",)) -> None:
        require_start("", task, RunContext(ModelConfig(agent=agent(text), models=models), sandboxed=sandboxed))

    for text in ("asking.py", "steady.py"):
        first_call(text)  # it ends at its first answer, at the latest at its first request, here an experiment
    with pytest.raises(UsageError, match="asks for the model m, and --model names none") as unnamed:
        first_call("asking.py", models=())
    assert unnamed.value.hint.startswith("-m m")
    api.fault = lambda number, body: "401"
    with pytest.raises(EnvironmentProblem, match="exit code 1: refused: 401"):
        first_call("asking.py")
    with pytest.raises(EnvironmentProblem, match="its model refuses its calls: HTTP 401"):
        first_call((AGENTS / "asking.py").read_text().replace("sys.exit(1)", "sys.exit(0)"), sandboxed=False)
