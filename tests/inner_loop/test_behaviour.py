"""Behaviour: what wording cannot change, and what a charter can."""

from __future__ import annotations

import pytest

from inner_loop.behaviour import behaviour_id, inert_directives, resolved_ideas
from programs.program import Program
from tests.inner_loop.play import program
from trainer.task import Task

QUEUE = "proposers: {queue: 1}"
IDEAS = ["try `lr=0.1`", "`attention=flash` is not of this task", "think hard", "`+bias`"]


def test_prose_changes_nothing_for_a_scripted_researcher(task: Task) -> None:
    one, other = Program.parse("Improve it."), Program.parse("# Work\n\nBe bold.\n\n- and brave\n")
    assert behaviour_id(one, task) == behaviour_id(other, task) == behaviour_id(program(), task)
    assert behaviour_id(one, task, "chat:m") != behaviour_id(other, task, "chat:m")


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("# A\n\nDo this,\nthen that.\n", True),
        ("\ufeff# A\r\n\r\n\r\nDo this, then   that.", True),
        ("# A\n\nDo this, then\tthat.\n\n```patch:p\n<<<<<<< SEARCH\na\n=======\n  b\n>>>>>>> REPLACE\n```\n", False),
        ("# A\n\nDo this then that.\n", False),
        ("---\nmetaloop:\n  wave: 3\n---\n# A\n\nDo this, then that.\n", False),
    ],
)
def test_white_space_alone_changes_nothing_for_a_model(task: Task, text: str, alike: bool) -> None:
    one = behaviour_id(Program.parse("# A\n\nDo this, then that.\n"), task, "chat")
    assert (behaviour_id(Program.parse(text), task, "chat") == one) is alike


@pytest.mark.parametrize(("new", "alike"), [("b", False), ("  b", False), ("    b", True)])
def test_white_space_in_a_patch_counts_for_a_model(task: Task, new: str, alike: bool) -> None:
    def patched(line: str) -> str:
        block = f"```patch:p\n<<<<<<< SEARCH\na\n=======\n{line}\n>>>>>>> REPLACE\n```\n"
        return behaviour_id(Program.parse(f"# A\n\n{block}"), task, "chat")

    assert (patched(new) == patched("    b")) is alike


def test_defaults_that_are_written_out_change_nothing(task: Task) -> None:
    written = program("replicates: 1\nscreen: {fraction: 1.0, promote: 0.5}\nproposers: {random: 7}\nhistory: 3")
    assert behaviour_id(written, task) == behaviour_id(program(), task)
    assert behaviour_id(program("replicates: 2"), task) != behaviour_id(program(), task)
    assert behaviour_id(program("focus: [unknown]"), task) == behaviour_id(program(), task)


def test_fields_of_a_rule_count_only_where_it_is_in_force(task: Task) -> None:
    one, other = (program(f"keep: {{rule: better, margin: {margin}}}") for margin in (1.0, 2.0))
    assert behaviour_id(one, task) == behaviour_id(other, task)
    one, other = (program(f"keep: {{rule: margin, margin: {margin}}}") for margin in (1.0, 2.0))
    assert behaviour_id(one, task) != behaviour_id(other, task)


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
