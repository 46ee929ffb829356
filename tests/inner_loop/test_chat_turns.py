"""Turns of a chat researcher: asked for while another trains, applied to what is kept then, told of where lost."""

from __future__ import annotations

import random
import re

import pytest

from inner_loop.chat.notes import LOST
from programs.common.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from tests.arena.test_chat import alone, of
from tests.llm import researcher
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.researcher import prompt_of, reply
from tests.llm.server import Body, LlmServer
from tests.llm.studies import planted
from trainer.task import Task

__all__ = ["litellm_loaded", "server"]
TWO = "# Two\n\nLower the loss.\n\n## Roles\n\n- Ada: first\n- Bea: second\n"


def change(body: Body, wanted: dict[str, tuple[str, str]]) -> str:
    """Each role sets one constant to one value, whatever it reads."""
    prompt = prompt_of(body)
    role = "Ada" if "Your turn, Ada" in prompt else "Bea"
    knob, value = wanted[role]
    found = re.search(rf"^{knob} = .+$", prompt, re.MULTILINE)
    assert found
    return reply("train.py", found[0], f"{knob} = {value}", follows=[], luck=random.Random(9))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("merge") / "task", experiments=6)


def best(task: Task, rank: int) -> tuple[str, str]:
    """The constant whose best value gains most, or the next ones, with that value as it is written."""
    assert task.law is not None
    gains = {name: (gain, value) for (name, value), gain in sorted(task.law.effects.items(), key=lambda item: item[1])}
    names = sorted((name for name in gains if name.isupper() or name[:1].isupper()), key=lambda name: -gains[name][0])
    value = gains[names[rank]][1]
    return names[rank], f'"{value}"' if isinstance(value, str) else str(value)


@dropped
def test_the_next_turn_is_asked_for_while_an_experiment_trains(server: LlmServer, task: Task) -> None:
    _, events = alone(task, TWO)
    prompts = [text for body in server.seen if "could not be applied" not in (text := prompt_of(body))]
    assert ["Your turn, Ada" in text for text in prompts] == [n % 2 == 0 for n in range(len(prompts))]
    assert len(prompts) == 5 and "In training" not in prompts[0]
    tried = of(events, "experiment")
    for number, text in enumerate(prompts[1:], start=1):
        results, _, training = text.partition("In training, result unknown")
        assert f"# {tried[number]['description']}\n" in training.partition("## Your turn")[0]
        assert f"- {number - 1}: " in results and f"- {number}: " not in results


@dropped
@pytest.mark.parametrize("case", ["other", "same", "stubborn"])
def test_a_reply_is_applied_to_what_is_kept_when_its_turn_comes(server: LlmServer, task: Task, case: str) -> None:
    """Ada's edit is kept while Bea's call is in flight. Of another line: both are in the next source. Of the same line:
    Bea is asked once more, with the error and the new source, and her turn is lost if she insists."""
    (knob, value), other = best(task, 0), best(task, 1)
    wanted = {"Ada": (knob, value), "Bea": other if case == "other" else (knob, "0.777")}
    before = re.search(rf"^{knob} = .+$", task.baseline().text(), re.MULTILINE)
    assert before

    def answer(body: Body) -> str:
        if case == "stubborn" and "Your turn, Bea" in prompt_of(body):
            return reply("train.py", before[0], f"{knob} = 0.777", follows=[], luck=random.Random(9))
        return change(body, wanted)

    server.answer = answer
    _, events = alone(task, TWO)
    tried, turns = of(events, "experiment"), of(events, "turn")
    decided = {e["experiment_id"]: e["decision"] for e in of(events, "decision")}
    assert decided[tried[1]["experiment_id"]] == "keep"
    asked = [body["messages"][1]["content"] for body in server.seen]
    late = [text for text in asked if "could not be applied to this one" in text]
    if case == "other":
        assert not late and tried[2]["proposer"] == "chat: Bea"
        assert str(tried[2]["config"][knob]) == value.strip('"')
        assert str(tried[2]["config"][other[0]]) == other[1].strip('"')
    else:
        assert f"{knob} = {value}" in late[0].partition("</file>")[0] and "- 1: " in late[0]
    if case == "same":
        assert tried[2]["config"][knob] == 0.777 and [call["purpose"] for call in of(events, "call")][2] == "repair"
    if case == "stubborn":
        lost = next(turn for turn in turns if turn["role"] == "Bea")
        assert (lost["number"], lost["fate"], lost["after"]) == (1, "unusable", 2) and "occurs 0 times" in lost[
            "reason"
        ]
        assert "- a turn of Bea was not tried: " in asked[-1]
        assert all(e["proposer"] == "chat: Ada" for e in tried[1:])
    again, rest = alone(task, TWO, recorded=events)
    assert rest == [] and again.state == "finished"


@dropped
def test_role_may_pass_and_a_run_cannot_pass_for_ever(server: LlmServer, task: Task) -> None:
    no, none = "<pass>nothing was kept yet</pass>", "<pass>no more ideas</pass>"
    server.answer = lambda body: no if "Your turn, Bea" in prompt_of(body) else researcher.answer(body)
    result, events = alone(task, "---\nmetaloop: {no_repeat: false}\n---\n" + TWO)
    passes = {(turn["role"], turn["fate"], turn["reason"]) for turn in of(events, "turn")}
    assert (result.experiments, result.reason) == (6, "") and passes == {("Bea", "pass", "nothing was kept yet")}
    assert {e["proposer"] for e in of(events, "experiment")[1:]} == {"chat: Ada"}
    assert "repair" not in {call["purpose"] for call in of(events, "call")}
    assert "- Bea passed: nothing was kept yet" in server.seen[-1]["messages"][1]["content"]
    server.answer = lambda _: none
    result, events = alone(task, TWO)
    assert result.state == "finished" and result.experiments == 1 and len(of(events, "call")) <= 2 * LOST + 1
    assert result.reason == "the last 8 turns led to no experiment: 8 pass"


def first_prompts(server: LlmServer) -> list[str]:
    """Of each turn, without repairs."""
    return [body["messages"][1]["content"] for body in server.seen if len(body["messages"]) == 2]


@dropped
def test_prompts_of_one_wave_differ_and_name_what_trains_beside(server: LlmServer, task: Task) -> None:
    ideas = "\n## Ideas\n\n- for Bea: be careful\n- be bold\n"
    waves = TWO.replace("# Two", "---\nmetaloop:\n  wave: 3\n---\n# Two") + ideas
    alone(task, waves)
    prompts = first_prompts(server)
    own = [p.partition("Your idea from the queue: ")[2].partition("\n")[0] for p in prompts]
    assert own[0].endswith("] be bold") and own[1].endswith("] for Bea: be careful")
    beside = [p.partition("In training")[2].partition("## Your turn")[0].count("\n# ") for p in prompts]
    assert beside[:4] == [0, 1, 2, 3]
    alone(task, waves.partition("## Roles")[0])
    for each in (prompts, first_prompts(server)[len(prompts) :]):
        assert len(set(each)) == len(each)


@dropped
def test_run_goes_on_in_a_context_of_4096_tokens(server: LlmServer, task: Task) -> None:
    """The server refuses what is longer, repairs included; the program alone has 600 words, and every log is long."""
    text, seen = starter("idea-queue").text, list[int]()

    def refuse(_: int, body: Body) -> str | None:
        seen.append(len(prompt_of(body).encode()) // 3 + body["max_tokens"])
        return "400" if seen[-1] > 4096 else None

    def answer(body: Body) -> str:
        return "blah " * 600 + researcher.answer(body) if len(server.seen) % 3 else "no edit, " * 400

    server.fault, server.answer = refuse, answer
    result, events = alone(task, text, context_tokens=4096, reply_tokens=8192)
    assert (result.state, result.experiments, result.reason) == ("finished", 6, "") and max(seen) <= 4096
    assert {call["purpose"] for call in of(events, "call")} == {"turn", "repair"}
    assert {body["max_tokens"] for body in server.seen} == {819}
    with pytest.raises(UsageError, match=r"the shortest prompt of .* do not fit into a context of 1024"):
        alone(task, text, context_tokens=1024)


# --- several programs on one main ------------------------------------------------------------------------------------


BOLD = "---\nmetaloop: {wave: 3, no_repeat: true}\n---\n# Bold\n\nTry large steps.\n"
SHY = "# Shy\n\nTry small steps.\n"


def test_night_of_models_takes_turns_and_resumes(server: LlmServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each sees its own text and the one main, and is asked while another trains."""
    task = planted(tmp_path_factory.mktemp("night") / "task", experiments=12)
    result, events = alone(task, BOLD, beside=SHY)
    turns, tried = of(events, "night_turn"), {e["number"]: e for e in of(events, "experiment")}
    bold, shy = (Program.parse(text).program_id for text in (BOLD, SHY))
    assert result.state == "finished" and len(tried) == 12
    for block in {turn["block"] for turn in turns[:-2]}:
        assert sorted(t["program_id"] for t in turns if t["block"] == block) == sorted([bold, shy])
    assert all(tried[turn["first"]]["program_id"] == turn["program_id"] for turn in turns)
    prompts, paid = ["".join(m["content"] for m in body["messages"]) for body in server.seen], len(server.seen)
    for text in prompts:
        large = "large steps" in text
        assert large != ("small steps" in text) and ("no_repeat: true" in text) == large and "wave: 3" not in text
        assert "trained again with a second seed" in text and "measured once" not in text
        rows = re.findall(r"(?m)^- (\d+): (.*\(yours\))?", text)
        mine = bold if large else shy
        assert all((tried[int(number)].get("program_id") == mine) == bool(yours) for number, yours in rows)
    first = first_prompts(server)
    asked = [bold if "large steps" in body["messages"][0]["content"] + body["messages"][1]["content"] else shy
             for body in server.seen if len(body["messages"]) == 2]  # fmt: skip
    assert asked == [turn["program_id"] for turn in turns], "nothing is asked for after the last one"
    assert sum("In training" in text for text in first) == len(turns) - 1, "all but the first"
    half = [event for event in events if event["kind"] != "run_ended"][: len(events) // 2]
    again, more = alone(task, BOLD, beside=SHY, recorded=half)
    assert again.final == result.final and len(server.seen) - paid < paid, "calls are not repeated"
    assert of([*half, *more], "night_turn") == turns
