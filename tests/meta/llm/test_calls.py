"""Calls of writers: a prompt that is too long, the schema of the reply, and which traces stand in a prompt."""

from __future__ import annotations

import pytest

from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from meta.mutators.llm.calls import GenerationCalls
from meta.mutators.llm.reply import schema
from meta.mutators.llm.traces import MOST_RUNS, Trace, select_traces
from programs.common.errors import MetaloopError
from tests.llm import fixtures
from tests.llm.kits import MODEL, environment, kit, staff
from tests.llm.local import LocalServer
from tests.llm.server import LlmServer

litellm_loaded = fixtures.litellm_loaded
ASK = [Message("system", "s"), Message("user", "u")]


def calls() -> GenerationCalls:
    client = ModelClient(kit(None, run_id="", call_timeout=20.0), 1)
    return GenerationCalls(
        {MODEL: client}, generation=2, most=3, config=staff(), note=lambda _: None,
        stopped=lambda: MetaloopError("stopped"),
    )  # fmt: skip


def test_a_prompt_that_is_too_long_loses_that_proposal_only(
    litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalServer("llama.cpp", 4096, answer=lambda _: "done") as running:
        environment(monkeypatch, running.url)
        desk = calls()
        assert desk.ask(MODEL, [Message("user", "word " * 5000)], "mutate bold")[1] is None
        assert "the prompt is too long" in desk.unfit and desk.open and not desk.silent
        _, reply = desk.ask(MODEL, ASK, "mutate bold")
        assert reply and reply.text == "done" and not desk.unfit and len(running.seen) == 2
        fixtures.close_connections()


def test_a_schema_goes_to_models_that_keep_to_one(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlmServer(lambda _: "done") as server:
        environment(monkeypatch, server.url)
        for known, sent in ((False, None), (True, schema())):
            monkeypatch.setattr("litellm.supports_response_schema", lambda _, known=known: known)
            calls().ask(MODEL, ASK, "mutate bold")
            assert server.seen[-1].get("response_format") == sent
        fixtures.close_connections()


def test_prompt_has_scripts_and_the_latest_runs_of_its_parents() -> None:
    script = Trace("train.py", "LR = 1\n", "north")
    runs = [Trace(f"{n}", f"run {n}\n", task, p) for n, (task, p) in enumerate([
        ("north", "p1"), ("north", "p9"), ("north", "p1"), ("north", "p1"), ("south", "p1"), ("south", "p2"),
    ])]  # fmt: skip
    found = select_traces([script, *runs], ["p1", "p2"], 10_000)
    assert [trace.about for trace in found] == ["train.py", "0", "4", "5", "2"] and len(found) == MOST_RUNS + 1
    assert select_traces([script, *runs], ["p1"], 0) == []


def test_traces_share_the_bytes_of_a_prompt() -> None:
    long = "x" * 99 + "\n"
    traces = [Trace("s", long * 900, "t"), Trace("a", long * 900, "t", "p"), Trace("b", long * 3, "t", "p")]
    found = select_traces(traces, ["p"], 8_000)
    assert [len(trace.text) // 1_000 for trace in found] == [4, 1, 0] and found[2].text == long * 3
    assert all("(the rest is left out)" in trace.text for trace in found[:2])
