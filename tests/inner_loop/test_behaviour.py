"""Behaviour: what wording cannot change, and what a charter can."""

from __future__ import annotations

import pytest

from inner_loop.behaviour import behaviour_id, inert_directives, resolved_ideas
from programs.program import Program
from tests.inner_loop.play import program
from trainer.task import Task

QUEUE = "proposers: {queue: 1}"
PROSE = "# A\n\nDo this, then that.\n"
IDEAS = ["try `lr=0.1`", "`attention=flash` is not of this task", "think hard", "`+bias`"]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("replicates: 1\nscreen: {fraction: 1.0, promote: 0.5}\nproposers: {random: 7}\nhistory: 3", "", True),
        ("replicates: 2", "", False),
        ("focus: [unknown]", "", True),
        ("keep: {least: 0.0}", "", True),
        ("keep: {least: 0.1}", "", False),
        ("keep: {rule: better, margin: 1}", "keep: {rule: better, margin: 2}", True),  # not in force
        ("keep: {rule: margin, margin: 1}", "keep: {rule: margin, margin: 2}", False),
    ],
)
def test_settings_that_have_an_effect_make_another_behaviour(task: Task, one: str, other: str, alike: bool) -> None:
    assert (behaviour_id(program(one), task) == behaviour_id(program(other), task)) is alike


def test_prose_counts_for_a_model_alone(task: Task) -> None:
    one, other = Program.parse("Improve it."), Program.parse("# Work\n\nBe bold.\n\n- and brave\n")
    assert behaviour_id(one, task) == behaviour_id(other, task) == behaviour_id(program(), task)
    assert behaviour_id(one, task, "chat:m") != behaviour_id(other, task, "chat:m")


def patch(line: str) -> str:
    return f"# A\n\nDo this, then that.\n\n```patch:p\n<<<<<<< SEARCH\na\n=======\n{line}\n>>>>>>> REPLACE\n```\n"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (PROSE, "# A\n\nDo this,\nthen that.\n", True),
        (PROSE, "\ufeff# A\r\n\r\n\r\nDo this, then   that.", True),
        (PROSE, "# A\n\nDo this then that.\n", False),
        (PROSE, "---\nmetaloop:\n  wave: 3\n---\n# A\n\nDo this, then that.\n", False),
        (PROSE, patch("b"), False),
        (patch("b"), patch("  b"), False),
    ],
)
def test_white_space_of_prose_alone_changes_nothing_for_a_model(task: Task, one: str, other: str, alike: bool) -> None:
    assert (behaviour_id(Program.parse(one), task, "chat") == behaviour_id(Program.parse(other), task, "chat")) is alike


def test_ideas_count_where_the_queue_serves_them(task: Task) -> None:
    assert [idea.text for idea, _ in resolved_ideas(program(QUEUE, IDEAS), task)] == [IDEAS[0], IDEAS[3]]
    assert resolved_ideas(program("", IDEAS), task) == []
    assert behaviour_id(program("", IDEAS), task) == behaviour_id(program(), task)
    worded = program(QUEUE, ["raise `LR=1e-1`", "add `bias`"])
    assert behaviour_id(program(QUEUE, IDEAS), task) == behaviour_id(worded, task)
    assert behaviour_id(program(QUEUE, IDEAS[::-1]), task) != behaviour_id(program(QUEUE, IDEAS), task)
    focused = program(f"{QUEUE}\nfocus: [optimizer]", IDEAS)
    assert [idea.text for idea, _ in resolved_ideas(focused, task)] == [IDEAS[0]]


def test_inert_directives_are_those_without_effect(task: Task) -> None:
    text = program(f"{QUEUE}\nreplicates: 1\nwave: 3", IDEAS)
    inert = {directive.text for directive in inert_directives(text, task)}
    assert inert == {"replicates: 1", "Make it better.", IDEAS[1], IDEAS[2]}
    unserved = inert_directives(program("wave: 3", IDEAS), task)
    assert {directive.kind for directive in unserved} == {"paragraph", "idea", "order"}
