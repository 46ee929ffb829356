"""Models follow two programs by turns: each sees its own text and the one main, and is asked while another trains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from programs.program import Program
from tests.arena.test_chat import alone, of
from tests.llm.fixtures import litellm_loaded, server
from tests.llm.server import LlmServer
from tests.llm.studies import planted
from trainer.task import Task

__all__ = ["litellm_loaded", "server"]
BOLD, SHY = (
    "---\nmetaloop: {wave: 3, no_repeat: true}\n---\n# Bold\n\nTry large steps.\n",
    "# Shy\n\nTry small steps.\n",
)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("night") / "task", experiments=12)


def test_models_take_turns_on_one_main(server: LlmServer, task: Task) -> None:
    result, events = alone(task, BOLD, beside=SHY)
    turns, tried = of(events, "night_turn"), {e["number"]: e for e in of(events, "experiment")}
    bold, shy = (Program.parse(text).program_id for text in (BOLD, SHY))
    assert result.state == "finished" and len(tried) == 12
    for block in {turn["block"] for turn in turns[:-2]}:
        assert sorted(t["program_id"] for t in turns if t["block"] == block) == sorted([bold, shy])
    assert all(tried[turn["first"]]["program_id"] == turn["program_id"] for turn in turns)
    prompts = ["".join(m["content"] for m in body["messages"]) for body in server.seen]
    assert all(("large steps" in text) != ("small steps" in text) for text in prompts)
    assert all("trained again with a second seed" in text and "measured once" not in text for text in prompts)
    assert all(("no_repeat: true" in text) == ("large steps" in text) and "wave: 3" not in text for text in prompts)
    rows = re.findall(r"(?m)^- (\d+): (.*\(yours\))?", "\n".join(t for t in prompts if "large steps" in t))
    assert all((tried[int(number)].get("program_id") == bold) == bool(mine) for number, mine in rows)
    calls = of(events, "call")
    assert len({call["number"] for call in calls}) == len(calls)


def test_next_program_is_asked_before_the_current_one_trains(server: LlmServer, task: Task) -> None:
    _, events = alone(task, BOLD, beside=SHY)
    turns = of(events, "night_turn")
    prompts = ["".join(m["content"] for m in body["messages"]) for body in server.seen if len(body["messages"]) == 2]
    asked = [Program.parse(BOLD if "large steps" in text else SHY).program_id for text in prompts]
    assert asked == [turn["program_id"] for turn in turns], "nothing is asked for after the last one"
    assert sum("In training" in text for text in prompts) == len(turns) - 1, "all but the first"


def test_night_of_models_resumes_without_repeating_calls(server: LlmServer, task: Task, tmp_path: Path) -> None:
    whole, events = alone(task, BOLD, beside=SHY)
    paid = len(server.seen)
    half = [event for event in events if event["kind"] != "run_ended"][: len(events) // 2]
    again, more = alone(task, BOLD, beside=SHY, recorded=half)
    assert again.final == whole.final and len(server.seen) - paid < paid
    assert of([*half, *more], "night_turn") == of(events, "night_turn")
