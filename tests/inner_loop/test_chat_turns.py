"""Turns of a chat researcher: asked for while another trains, applied to what is kept then, told of where lost."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from inner_loop.chat.notes import LOST
from programs.common.errors import UsageError
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
def test_a_role_may_pass_and_a_run_cannot_pass_for_ever(server: LlmServer, task: Task) -> None:
    def answer(body: Body) -> str:
        if "Your turn, Bea" in prompt_of(body):
            return "<pass>nothing was kept yet</pass>"
        return researcher.answer(body)

    server.answer = answer
    result, events = alone(task, "---\nmetaloop: {no_repeat: false}\n---\n" + TWO)
    passes = of(events, "turn")
    assert (
        result.experiments == 6
        and result.reason == ""
        and {e["proposer"] for e in of(events, "experiment")[1:]} == {"chat: Ada"}
    )
    assert passes and {(p["role"], p["fate"], p["reason"]) for p in passes} == {("Bea", "pass", "nothing was kept yet")}
    assert not [call for call in of(events, "call") if call["purpose"] == "repair"]
    assert "- Bea passed: nothing was kept yet" in server.seen[-1]["messages"][1]["content"]
    server.answer = lambda _: "<pass>no more ideas</pass>"
    result, events = alone(task, TWO)
    assert result.state == "finished" and result.experiments == 1 and len(of(events, "call")) <= 2 * LOST + 1
    assert result.reason == "the last 8 turns led to no experiment: 8 pass"


@dropped
def test_prompts_of_one_wave_differ_and_name_what_trains_beside(server: LlmServer, task: Task) -> None:
    waves = (
        TWO.replace("# Two", "---\nmetaloop:\n  wave: 3\n---\n# Two")
        + "\n## Ideas\n\n- for Bea: be careful\n- be bold\n"
    )
    alone(task, waves)
    prompts = [body["messages"][1]["content"] for body in server.seen if len(body["messages"]) == 2]
    assert len(set(prompts)) == len(prompts)
    ideas = [p.partition("Your idea from the queue: ")[2].partition("\n")[0] for p in prompts]
    assert ideas[0].endswith("] be bold") and ideas[1].endswith("] for Bea: be careful")
    beside = [p.partition("In training")[2].partition("## Your turn")[0].count("\n# ") for p in prompts]
    assert beside[:4] == [0, 1, 2, 3]
    alone(task, waves.partition("## Roles")[0])
    one = [body["messages"][1]["content"] for body in server.seen[len(prompts) :] if len(body["messages"]) == 2]
    assert len(set(one)) == len(one)


@dropped
def test_a_run_goes_on_in_a_context_of_4096_tokens(server: LlmServer, task: Task, tmp_path: Path) -> None:
    """The server refuses what is longer, repairs included; the program alone has 600 words, and every log is long."""
    text = starter("idea-queue").text
    seen: list[int] = []

    def refuse(_: int, body: Body) -> str | None:
        seen.append(len(prompt_of(body).encode()) // 3 + body["max_tokens"])
        return "400" if seen[-1] > 4096 else None

    def answer(body: Body) -> str:
        long = "blah " * 600 + researcher.answer(body)
        return long if len(server.seen) % 3 else "no edit, " * 400

    server.fault, server.answer = refuse, answer
    result, events = alone(task, text, context_tokens=4096, reply_tokens=8192)
    assert result.state == "finished" and result.experiments == 6 and result.reason == ""
    assert {call["purpose"] for call in of(events, "call")} == {"turn", "repair"} and max(seen) <= 4096
    assert {body["max_tokens"] for body in server.seen} == {819}
    with pytest.raises(UsageError, match=r"the shortest prompt of .* do not fit into a context of 1024"):
        alone(task, text, context_tokens=1024)
