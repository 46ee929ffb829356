"""Rounds of tools with a real server: what is sent, counted and written down, and that they come to an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.models.client import ModelClient
from inner_loop.models.context_size import prompt_tokens
from inner_loop.models.contract import Message
from inner_loop.models.tools import Offer, ToolCall, called
from meta.mutators.llm.conversation import Talk, converse
from meta.mutators.llm.generation_calls import GenerationCalls
from meta.mutators.llm.toolbox import Toolbox, tools
from meta.mutators.llm.trace_access import MOST, TURNS, trace_access_of, trace_mode
from programs.errors import MetaloopError
from tests.llm import fixtures
from tests.llm.kits import KEY, MODEL, environment, kit, staff
from tests.llm.local import LocalServer
from tests.llm.tooling import ToolServer, results, rounds
from tests.meta.llm.test_toolbox import FILES

litellm_loaded = fixtures.litellm_loaded
ASK = [Message("system", "s"), Message("user", "u")]


@pytest.fixture
def server(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToolServer]:
    with ToolServer(lambda body: "done" if rounds(body) else [("search", {"pattern": "keep"})]) as running:
        environment(monkeypatch, running.url)
        yield running
        fixtures.close_connections()


def talk(events: list[dict[str, Any]] | None = None, box: Toolbox | None = None, **how: Any) -> Talk:
    client = ModelClient(kit(events, run_id="", **({"call_timeout": 20.0} | how)), 1)
    desk = GenerationCalls(
        {MODEL: client}, generation=2, most=1, reply_tokens=500, note=lambda _: None,
        stopped=lambda: MetaloopError("stopped"),
    )  # fmt: skip
    found = converse(desk, MODEL, ASK, "mutate bold", box or Toolbox(FILES))
    assert not desk.open  # rounds are of one reply
    return found


def test_a_prompt_that_is_too_long_loses_that_proposal_only(
    litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalServer("llama.cpp", 4096, answer=lambda _: "done") as running:
        environment(monkeypatch, running.url)
        desk = GenerationCalls(
            {MODEL: ModelClient(kit(run_id=""), 1)}, generation=2, most=3, reply_tokens=500, note=lambda _: None,
            stopped=lambda: MetaloopError("stopped"),
        )  # fmt: skip
        assert desk.ask(MODEL, [Message("user", "word " * 5000)], "mutate bold")[1] is None
        assert "the prompt is too long" in desk.unfit and desk.open and not desk.silent
        _, reply = desk.ask(MODEL, ASK, "mutate bold")
        assert reply and reply.text == "done" and not desk.unfit and len(running.seen) == 2
        fixtures.close_connections()


def test_a_round_is_answered_and_written_down(server: ToolServer) -> None:
    events: list[dict[str, Any]] = []
    found = talk(events)
    assert found.reply and found.reply.text == "done" and found.number == 20_001
    [turn] = found.turns
    [tool] = turn.tools
    assert (turn.call, tool.name, tool.arguments) == (20_000, "search", '{"pattern": "keep"}')
    assert "runs/p1/r1.txt:1: experiment 1 e1 on 0: ok, keep" in tool.result
    assert results(server.seen[1]) == [tool.result]
    assert [(e["number"], e["finish"], e["status"]) for e in events] == [
        (20_000, "tool_calls", "ok"), (20_001, "stop", "ok"),
    ]  # fmt: skip
    assert events[0]["tools"] == [{"id": "call_2_0", "name": "search", "arguments": '{"pattern": "keep"}'}]
    assert "tools" not in events[1] and found.tokens == sum(e["tokens"] for e in events)
    assert called(events[0]["tools"]) == (ToolCall("call_2_0", "search", '{"pattern": "keep"}'),)
    assert talk(recorded=events) == replace(found, reply=replace(found.reply)) and len(server.seen) == 2


def test_the_last_round_is_closed_and_names_the_tools_all_the_same(server: ToolServer) -> None:
    server.answer = lambda _: [("list_files", {})] * 9  # type: ignore[assignment, return-value]
    found = talk()
    assert len(found.turns) == TURNS and all(len(turn.tools) == 4 for turn in found.turns)
    assert found.reply and found.reply.calls and not found.reply.text
    assert [body["tool_choice"] for body in server.seen] == ["auto"] * TURNS + ["none"]
    assert all(len(body["tools"]) == 3 for body in server.seen)
    for said_before, body in enumerate(server.seen):  # every request holds it
        asked = [c["id"] for m in body["messages"] if m["role"] == "assistant" for c in m["tool_calls"]]
        answered = [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]
        assert asked == answered and len(asked) == 4 * said_before


def test_no_round_starts_beyond_a_cap(server: ToolServer, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    assert (
        prompt_tokens(ASK, Offer(tools())) > prompt_tokens(ASK) + 300
    )  # what describes the tools is sent, and paid for
    found = talk(events, max_tokens=10, study=tmp_path)
    assert found.reply is None and len(found.turns) == 1 and found.tokens == events[0]["tokens"]
    assert len(server.seen) == 1 and events[1]["status"] == "failed" and "--max-tokens" in events[1]["reason"]


def test_faults_between_rounds_are_waited_out(server: ToolServer) -> None:
    server.fault = lambda number, _: "503" if number % 2 == 0 else None
    found = talk()
    assert found.reply and found.reply.text == "done" and len(found.turns) == 1


def test_keys_are_in_no_call_and_no_result(server: ToolServer) -> None:
    server.answer = lambda body: "done" if rounds(body) else [("search", {"pattern": KEY})]  # type: ignore[assignment, return-value]
    events: list[dict[str, Any]] = []
    leaky = Toolbox([replace(FILES[1], text=f"key {KEY}\n[secret]\n")])
    found = talk(events, leaky)
    assert found.turns and KEY not in str(found.turns) and KEY not in str(events) and KEY not in str(server.seen)


def test_the_map_of_models_tells_what_each_can_do(litellm_loaded: None) -> None:
    assert trace_mode(staff(models=("gpt-4o-mini",))) == "tools"
    assert trace_mode(staff(models=("gpt-4o-mini", MODEL))) == "none"
    assert trace_mode(staff(models=())) == "none" and trace_mode(staff(traces="tools")) == "tools"
    forced = trace_access_of(staff(models=("gpt-4o-mini",), traces="prompt"))
    assert forced.how == "prompt" and forced.bytes == min(MOST, 128_000 // 4 * 3)
