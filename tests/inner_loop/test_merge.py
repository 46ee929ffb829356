"""Replies that were made on an older source: what was kept since stays, and what became of the reply is told."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from inner_loop.researchers.merge import merge
from inner_loop.researchers.notebook import LOST
from programs.errors import UsageError
from programs.shelf import starter
from tests.arena.test_chat import alone, of
from tests.llm import researcher
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.researcher import prompt_of, reply
from tests.llm.server import LlmServer
from tests.llm.studies import planted
from trainer.source import Source
from trainer.task import Task

__all__ = ["litellm_loaded", "server"]
CASES, LINES = 600, 12
TWO = "# Two\n\nLower the loss.\n\n## Roles\n\n- Ada: first\n- Bea: second\n"


def source(*lines: str) -> Source:
    return Source((("train.py", "".join(f"{line}\n" for line in lines)),))


def edited(luck: random.Random, lines: list[str], mark: str, among: list[int]) -> tuple[list[str], set[str], set[str]]:
    """One to three changes at some of these lines: the new lines, what was written and what was removed."""
    out: dict[int, list[str]] = {at: [line] for at, line in enumerate(lines)}
    written, removed = set[str](), set[str]()
    for at in luck.sample(among, min(len(among), luck.randint(1, 3))):
        kind, new = luck.choice(("replace", "insert", "delete", "several")), f"{mark}{at}"
        fresh = [f"{new}.{n}" for n in range(3)] if kind == "several" else [new]
        if kind != "delete":
            written.update(fresh)
        if kind != "insert":
            removed.add(lines[at])
        out[at] = {"insert": [*out[at], *fresh], "delete": []}.get(kind, fresh)
    return [line for at in sorted(out) for line in out[at]], written, removed


def test_no_kept_edit_is_lost_in_planted_conflicts() -> None:
    """Two edits of the same source, at a few lines, so that many collide: both are made in full, or none."""
    met: Counter[str] = Counter()
    for seed in range(CASES):
        luck = random.Random(seed)
        base = [f"line {n}" if luck.random() < 0.8 else "" for n in range(LINES)]
        numbers = [n for n, line in enumerate(base) if line]
        among = luck.sample(numbers, min(len(numbers), luck.choice((2, 4, 8))))
        kept, k_written, k_removed = edited(luck, base, "kept", among)
        mine, m_written, m_removed = edited(luck, base, "mine", among)
        if luck.random() < 0.1:  # the same edit by both
            mine, m_written, m_removed = kept, k_written, k_removed
        result = merge(source(*base), source(*kept), source(*mine))
        if result.source is None:
            met["conflict"] += 1
            assert "train.py, line" in result.conflict
            assert k_removed & m_removed or (k_written and m_written), seed  # never without a reason
            continue
        met["same" if mine == kept else "merged"] += 1
        lines = result.source.text().splitlines()
        counted = Counter(lines)
        assert all(counted[line] == 1 for line in k_written | m_written), seed
        assert not (k_removed | m_removed) & set(lines), seed
        for side in (kept, mine):  # the order of each side's lines is its own
            places = [lines.index(line) for line in side if line and line in lines]
            assert all(one < other for one, other in pairwise(places)), seed
    assert met["conflict"] >= 200 and met["merged"] >= 50 and met["same"] >= 20, met


def test_neighbouring_settings_merge_and_the_same_line_does_not() -> None:
    base = source("A = 1", "B = 2", "C = 3", "go()")
    kept = source("A = 9", "B = 2", "C = 3", "go()")
    merged = merge(base, kept, source("A = 1", "B = 8", "C = 3", "go()"))
    assert merged.source == source("A = 9", "B = 8", "C = 3", "go()")
    assert merge(base, kept, source("A = 9", "B = 2", "C = 7", "go()")).source == source(
        "A = 9", "B = 2", "C = 7", "go()"
    )
    lost = merge(base, kept, source("A = 5", "B = 2", "C = 3", "go()"))
    assert lost.source is None and lost.conflict == "train.py, line 1: kept `A = 9`, the reply `A = 5`"


def test_two_insertions_at_one_place_are_both_made_unless_they_overlap() -> None:
    base = source("a", "b")
    assert merge(base, source("a", "x", "b"), source("a", "y", "b")).source == source("a", "x", "y", "b")
    assert merge(base, source("a", "x", "z", "b"), source("a", "x", "b")).source == source("a", "x", "z", "b")
    assert merge(base, source("a", "x", "b"), source("a", "w", "x", "b")).source == source("a", "w", "x", "b")
    assert merge(base, source("a", "x", "z", "b"), source("a", "x", "y", "b")).source is None


def change(body: dict[str, Any], wanted: dict[str, tuple[str, str]]) -> str:
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
@pytest.mark.parametrize("same", [False, True])
def test_a_reply_on_an_older_source_is_tried_on_what_was_kept_or_not_at_all(
    server: LlmServer, task: Task, same: bool
) -> None:
    """Ada's edit is kept while Bea's call is in flight. Of another line: both are in the next source. Of the same line:
    Bea's is not tried, the ledger and the results say so, and Ada's stays."""
    (knob, value), other = best(task, 0), best(task, 1)
    wanted = {"Ada": (knob, value), "Bea": (knob, "0.777") if same else other}
    server.answer = lambda body: change(body, wanted)
    _, events = alone(task, TWO)
    tried = of(events, "experiment")
    decided = {e["experiment_id"]: e["decision"] for e in of(events, "decision")}
    assert decided[tried[1]["experiment_id"]] == "keep"
    held = tried[1]["config"][knob]
    assert str(held) == value.strip('"') and all(e["config"][knob] in (held, 0.777) for e in tried[1:])
    turns = of(events, "turn")
    if same:
        first = next(turn for turn in turns if turn["fate"] == "conflict")
        assert (first["number"], first["role"], first["after"]) == (1, "Bea", 2)
        told = "by Bea was not tried, because it conflicts with what was kept meanwhile (train.py, line"
        assert told in server.seen[-1]["messages"][1]["content"] and f"kept `{knob} = {value}`" in first["reason"]
    else:
        assert tried[2]["config"][knob] == held and str(tried[2]["config"][other[0]]) == other[1].strip('"')
        assert {turn["fate"] for turn in turns} <= {"in-effect", "unusable"}
        later = server.seen[-1]["messages"][1]["content"]
        row = next(row for row in later.splitlines() if row.startswith("- 2: "))
        assert "(Bea), applied on top of experiment 1 (its author saw the source of 0): " in row
        assert later.count("applied on top") == 1
    again, rest = alone(task, TWO, recorded=events)
    assert rest == [] and again.state == "finished"


@dropped
def test_a_role_may_pass_and_a_run_cannot_pass_for_ever(server: LlmServer, task: Task) -> None:
    def answer(body: dict[str, Any]) -> str:
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
def test_prompts_of_one_wave_differ_and_name_what_is_in_flight(server: LlmServer, task: Task) -> None:
    waves = (
        TWO.replace("# Two", "---\nmetaloop:\n  wave: 3\n---\n# Two")
        + "\n## Ideas\n\n- for Bea: be careful\n- be bold\n"
    )
    _, events = alone(task, waves)
    prompts = [body["messages"][1]["content"] for body in server.seen if len(body["messages"]) == 2]
    assert len(set(prompts)) == len(prompts)
    assert (
        "[d"
        in next(p for p in prompts if "Your turn, Bea" in p)
        .partition("Your idea from the queue: ")[2]
        .split("be careful")[0]
    )
    flight = [p.partition("To be trained next: ")[2].partition("\n")[0] for p in prompts]
    titles = {e["description"] for e in of(events, "experiment")}
    assert sum(any(f"Ada: {title!r}" in f or f"Bea: {title!r}" in f for title in titles) for f in flight) >= 2
    calls = [p.partition("Choosing their edits at the same time: ")[2].partition("\n")[0] for p in prompts]
    assert any("offered [d" in c for c in calls) and not any("[d" in f for f in flight)
    alone(task, waves.partition("## Roles")[0])
    one = [body["messages"][1]["content"] for body in server.seen[len(prompts) :] if len(body["messages"]) == 2]
    assert len(set(one)) == len(one)


@dropped
def test_a_run_goes_on_in_a_context_of_4096_tokens(server: LlmServer, task: Task, tmp_path: Path) -> None:
    """The server refuses what is longer, repairs included; the program alone has 600 words, and every log is long."""
    text = starter("idea-queue").text
    seen: list[int] = []

    def refuse(_: int, body: dict[str, Any]) -> str | None:
        seen.append(len(prompt_of(body).encode()) // 3 + body["max_tokens"])
        return "400" if seen[-1] > 4096 else None

    def answer(body: dict[str, Any]) -> str:
        long = "blah " * 600 + researcher.answer(body)
        return long if len(server.seen) % 3 else "no edit, " * 400

    server.fault, server.answer = refuse, answer
    result, events = alone(task, text, context_tokens=4096, reply_tokens=8192)
    assert result.state == "finished" and result.experiments == 6 and result.reason == ""
    assert {call["purpose"] for call in of(events, "call")} == {"turn", "repair"} and max(seen) <= 4096
    assert {body["max_tokens"] for body in server.seen} == {819}
    with pytest.raises(UsageError, match=r"the shortest prompt of .* do not fit into a context of 1024"):
        alone(task, text, context_tokens=1024)
