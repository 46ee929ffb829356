"""Replies as JSON: what is read of them, what children they make, and what is refused in one line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inner_loop.chat.reply import BadEdit
from meta.mutators.llm.reply import BadReply, WrittenChild, build_child, match_rows, parse_reply
from meta.mutators.llm.templates import fenced
from programs.common.bounded import handling_text
from programs.common.errors import ProgramError, UsageError
from programs.program import Program
from trainer.edits import EditError

FIRST = Program.parse(
    "---\nmetaloop:\n  proposers: {queue: 0.9, local: 0.1}\n  wave: 2\n---\n# First\n\nWork.\n\n## Ideas\n\n"
    "- Set `lr=1`.\n- Set `wd=2`.\n\n## Process\n\n- Look.\n",
    "first",
)
SECOND = Program.parse(
    "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# Second\n\n## Ideas\n\n- Set `depth=3`.\n\n"
    "## Roles\n\n- One: all.\n",
    "second",
)


def reply(**parts: Any) -> WrittenChild:
    return parse_reply(json.dumps({"limits": "x", "reason": "why"} | parts))


def child(**parts: Any) -> Program:
    return Program.parse(build_child([FIRST, SECOND], reply(**parts)))


def test_a_reply_is_found_between_other_text_and_in_a_fence() -> None:
    for text in ("{}", "```json\n{}\n```", "So:\n{}\nThat is all."):
        whole = text.format('{"reason": "two\nlines", "ideas": [1, "new"]}') if "{}" in text else text
        found = parse_reply(whole)
        assert found.why == "two lines" and found.ideas == [1, "new"] and found.charter is None
    assert len(reply(reason="word " * 200).why) == 300


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I would rather not.", "no JSON object"),
        ("{'reason': 1}", "not JSON"),
        ('{"a": ' * 3000 + "}", "not JSON"),
        ('{"ideas": "all"}', "ideas: "),
        ('{"reason": "x", "budget": 1e9}', "budget: Extra inputs"),
        ('{"sections": [{"name": "Loop"}]}', "sections.0.text: "),
    ],
)
def test_what_is_no_reply_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(BadReply, match=why) as wrong:
        parse_reply(text)
    assert "\n" not in str(wrong.value) and len(str(wrong.value)) < 300


def test_numbers_take_ideas_of_both_parents_and_the_rest_stays() -> None:
    made = child(ideas=[3, "- Set `lr=7`.", "1"])
    assert [idea.text for idea in made.ideas] == ["Set `depth=3`.", "Set `lr=7`.", "Set `lr=1`."]
    assert "## Process\n\n- Look.\n" in made.text and made.charter == FIRST.charter
    assert not child(ideas=[]).ideas


def test_a_charter_is_whole_and_checked() -> None:
    fields = {"proposers": {"queue": 0.5, "local": 0.5}, "keep": {"rule": "paired"}, "screen.fraction": 0.5}
    made = child(charter=fields)
    assert made.charter.proposers == {"queue": 0.5, "local": 0.5} and made.charter.keep.rule == "paired"
    assert made.charter.screen.fraction == 0.5 and made.charter.wave == 1  # no longer set
    assert "metaloop" not in child(charter={}).text
    for wrong in ({"budget": 1}, {"wave": "many"}, {"proposers": {"queue": -1}}):
        with pytest.raises(ProgramError):
            child(charter=wrong)


def test_sections_are_new_replaced_or_removed() -> None:
    assert "## Process\n\n- Leap.\n" in child(sections=[{"name": "Process", "text": "- Leap.\n"}]).text
    assert "## Stops\n\nNever.\n" in child(sections=[{"name": "## Stops", "text": "Never."}]).text
    assert "Process" not in child(sections=[{"name": "process", "text": ""}]).text
    for name, text, why in (("Gone", "", "no section"), ("Process", "# New\n\nx", "contains a heading")):
        with pytest.raises(BadReply, match=why):
            child(sections=[{"name": name, "text": text}])


def test_sections_of_the_second_parent_are_taken_as_they_stand() -> None:
    made = child(take=["Roles", "charter"])
    assert "## Roles\n\n- One: all." in made.text and made.charter == SECOND.charter and len(made.ideas) == 2
    with pytest.raises(BadReply, match="no parent has a section Judges"):
        child(take=["Judges"])
    for name in ("Ideas", "charter", "Nowhere"):
        with pytest.raises(BadReply, match="take: there is no second parent"):
            build_child([FIRST], reply(take=[name]))


@pytest.mark.parametrize("number", [0, 4, " 00 ", "-1", "9" * 5000, "\u0660"])
def test_number_that_no_idea_has_is_a_bad_reply(number: int | str) -> None:
    """A model may count from 0; its list would be one idea off."""
    with pytest.raises(BadReply, match=r"ideas: there is no idea .* have 3, from 1"):
        child(ideas=[number, 1])


def test_unexpected_error_in_a_reply_is_a_bad_reply() -> None:
    for bad in (BadReply, BadEdit):
        with pytest.raises(bad, match=r"^cannot be used: IndexError: list index out of range$"), handling_text(bad):
            [][0]
        with pytest.raises(bad, match=r"^no such edit$"), handling_text(bad):
            raise EditError("no such edit")
    for error in (OSError("no space"), UsageError("no"), BadReply("x")):
        with pytest.raises(type(error), match=str(error)), handling_text(BadReply):
            raise error


WORDS = [
    "Ideas", "charter", "Process", "Roles", "", "#", "---", "a\nb", "\0", "x" * 200, "First > Ideas", "Set `lr=1`.",
    "\u00b2", "9" * 5000, "patch:x", "```", "a/b.md", "../x", "<<<<<<< SEARCH", "metaloop", "wave", "\r", "\u2028",
    "Try `patch:x`", "[a](b.md)", "- ", "screen.fraction", "`lr=1e999`", "`lr=nan`", "\ud800",
]  # fmt: skip
WORD = st.sampled_from(WORDS)
VALUE = WORD | st.sampled_from([0, -1, 2, None, True, 1e308, float("nan"), 10**400, [1, [2]], {"rule": "paired"}])
REPLY = st.fixed_dictionaries({}, optional={
    "charter": st.dictionaries(WORD, VALUE, max_size=2), "ideas": st.lists(WORD | st.integers(-2, 5), max_size=3),
    "sections": st.lists(st.fixed_dictionaries({"name": WORD, "text": WORD}), max_size=2),
    "take": st.lists(WORD, max_size=2),
    "patches": st.lists(st.fixed_dictionaries({"name": WORD, "search": WORD, "replace": WORD}), max_size=1),
})  # fmt: skip


@settings(max_examples=20 * settings().max_examples)
@given(REPLY, st.integers(1, 2))
def test_reply_by_chance_makes_a_child_or_is_bad(parts: dict[str, Any], parents: int) -> None:
    with suppress(BadReply, ProgramError):
        build_child([FIRST, SECOND][:parents], reply(**parts))


def test_a_new_patch_is_written_below_the_ideas_that_name_it() -> None:
    made = child(ideas=["Try `patch:zoom`."], patches=[{"name": "zoom", "search": "a = 1\n", "replace": "a = 2"}])
    [patch] = made.patches
    assert patch.name == "zoom" and patch.blocks == (("a = 1", "a = 2"),) and not patch.problem


def test_one_file_of_several_is_replaced_or_removed() -> None:
    text = "# Lab\n\nAsk [the critic](roles/critic.md).\n\n- Work.\n"
    lab = Program.parse(text, "lab", others={"roles/critic.md": "# Critic\n\n- Doubt.\n"})
    new = reply(sections=[{"name": "roles/critic.md", "text": "# Critic\n\n- Measure again.\n"}])
    made = lab.with_text(build_child([lab], new))
    assert "Measure again." in made.further["roles/critic.md"] and made.text == lab.text
    gone = lab.with_text(build_child([lab], reply(sections=[{"name": "roles/critic.md", "text": ""}])))
    assert not gone.further and "critic" not in gone.text


def test_cited_rows_are_known_or_remarked() -> None:
    rows, remark = match_rows(["e1", "[c2]", "e1", "e99"], {"e1": "c-lr", "c2": "c-child"})
    assert rows == ("c-lr", "c-child") and remark == "cites e99, which the evidence does not have"
    assert match_rows([], {"e1": "c-lr"}) == ((), "")


@pytest.mark.exploit(32)
def test_nothing_ends_the_fence_that_it_stands_in() -> None:
    text = "x"
    for _ in range(3):
        text += "\n" + fenced(text, "program").splitlines()[-1]
    whole = fenced(text, "program")
    mark = whole.partition('mark="')[2].partition('"')[0]
    assert whole.endswith(f'</data mark="{mark}">') and whole.count(mark) == 2 and mark not in text
