"""Calls of writers: contexts that are too small, the schema of the reply, and the traces in a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from analysis.study import query
from arena.study.study import Study
from bench.whole import begin_study, resized, search_here
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.models.prices import settled
from inner_loop.run_context import ModelConfig
from meta.mutators.llm.calls import GenerationCalls
from meta.mutators.llm.reply import schema
from meta.mutators.llm.traces import MOST_RUNS, Trace, select_traces
from meta.mutators.llm.write import JOBS
from programs.common.errors import MetaloopError
from programs.shelf import meta_program
from tests.gallery import WRITTEN
from tests.llm import fixtures, writer
from tests.llm.kits import MODEL, environment, kit, staff
from tests.llm.local import LocalServer
from tests.llm.researcher import prompt_of
from tests.llm.server import LlmServer
from tests.meta.evolved import SHORT
from tests.studies import planted

Played = tuple[list[str], list[str], list[dict[str, Any]]]
Play = Callable[..., Played]
FULL = {"better": ("also better", 6), "lower": ("lower", 5), "unclear": ("unclear", 6)}  # edits named on a whole page


@pytest.fixture(scope="module")
def play(litellm_loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """The prompts that a study sent, its notes, and its mutations with a model."""
    root = tmp_path_factory.mktemp("small")
    task = planted(root / "task")

    def played(size: int, generations: int = 1) -> Played:
        plan = resized(WRITTEN, generations=generations, final={"champion": 1, "control": 1})
        folder, notes = root / f"{size}-{len(list(root.iterdir()))}", list[str]()

        def listen(event: Mapping[str, Any]) -> None:
            notes.extend([event["text"]] if event["kind"] == "note" else [])

        with pytest.MonkeyPatch.context() as patch, LocalServer("vllm", size, answer=writer.answer) as server:
            environment(patch, server.url)
            limits = {"call_timeout": 60.0, "patience": 100.0, "backoff": 0.005}
            config = settled(ModelConfig(models=(MODEL,), context_tokens=size, **limits))
            begin_study(folder, task, plan, run_budget=SHORT, seed=3, model_config=config)
            search_here(Study.open(folder), listen)
            assert not server.refused
        rows = query(folder, "SELECT operator, accepted, reason FROM mutations WHERE model IS NOT NULL")
        return [prompt_of(body) for body in server.seen], notes, rows

    yield played


def is_short(prompt: str) -> bool:
    """Whether the context left out proposals, or edits that a whole page names."""
    hidden = re.search(r"further edits are only counted: (.*)", prompt)
    lists = {line.split(": ")[0]: line.count(", ") + 1 for line in prompt.splitlines() if line.startswith("- ")}
    counted = hidden[1] if hidden else ""
    short = [f" {kind}" in counted and lists.get(f"- {name}", 0) < n for kind, (name, n) in FULL.items()]
    return any(short) or "Earlier proposals are left out here" in prompt


def test_all_of_evolve_fits_into_4096_tokens(play: Play) -> None:
    prompts, notes, rows = play(4096, 2)
    assert len(prompts) >= 3 and [row for row in rows if row["accepted"]]
    left_out = [note for note in notes if "do not fit" in note]
    assert all(note.startswith("mutate ") for note in left_out)  # a parent with a shipped list of 30 ideas
    for prompt in prompts:
        assert meta_program().text.strip() in prompt and "# What to do" in prompt
        assert "Reply with one JSON object" in prompt and "`ladder2` = " in prompt
        assert is_short(prompt)
    assert not any("too long" in row["reason"] for row in rows)


def test_nothing_fitting_is_named_once_and_operators_go_on(play: Play) -> None:
    prompts, notes, rows = play(2048)
    assert not prompts and not rows
    said = [note for note in notes if "do not fit into a context of 2048 tokens with a reply of 409" in note]
    assert said and len(said) <= 2 * (len(JOBS) + 1) and all("a larger context" in note for note in said)


litellm_loaded = fixtures.litellm_loaded
TWO = [Message("system", "s"), Message("user", "u")]


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
        _, reply = desk.ask(MODEL, TWO, "mutate bold")
        assert reply and reply.text == "done" and not desk.unfit and len(running.seen) == 2
        fixtures.close_connections()


def test_a_schema_goes_to_models_that_keep_to_one(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlmServer(lambda _: "done") as server:
        environment(monkeypatch, server.url)
        for known, sent in ((False, None), (True, schema())):
            monkeypatch.setattr("litellm.supports_response_schema", lambda _, known=known: known)
            calls().ask(MODEL, TWO, "mutate bold")
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
