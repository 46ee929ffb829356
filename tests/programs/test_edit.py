"""Every edit leaves what it does not name byte for byte as it was."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from programs import edit, settings
from programs.charter import FIELDS
from programs.common.errors import NotFound, ProgramError
from programs.common.text import split_lines
from programs.edit import SETTINGS_HEADING, state_settings
from programs.front_matter import locate
from programs.program import Program
from programs.settings import set_charter
from tests.programs.markdown import FIXTURES, MIXED

EVERY = pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())


def foreign(text: str) -> str:
    """All of a text but the lines of our block (and but delimiters around nothing else)."""
    lines = split_lines(text.removeprefix("\ufeff"))
    front = locate(lines)
    if not front.end:
        return "".join(lines)
    start, end = front.block or (front.end - 1, front.end - 1)
    rest = [*lines[1:start], *lines[end : front.end - 1]]
    return "".join(lines[: 1 if rest else 0] + rest + lines[front.end - 1 if rest else front.end :])


def statements(text: str) -> list[tuple[str, str, str]]:
    return [(d.heading, d.kind, d.text) for d in Program.parse(text).directives if d.kind not in ("order", "charter")]


def values(text: str) -> dict[str, object]:
    """The charter fields that a text sets."""
    found = settings.settings_of(text)
    return {field: found.charter.get(field) for field in found.set_fields}


def is_part(part: list[Any], whole: list[Any]) -> bool:
    """Whether it is the other one with items left out."""
    rest = iter(whole)
    return all(item in rest for item in part)


def ideas(text: str) -> list[str]:
    return [idea.text for idea in Program.parse(text).ideas]


def removed(text: str, directive_id: str) -> str:
    return edit.without(Program.parse(text), directive_id).text


@EVERY
def test_field_that_is_set_touches_only_our_block(text: str) -> None:
    for field, value in (("screen.fraction", 0.5), ("wave", 7), ("proposers", {"queue": 1.0, "local": 0.5})):
        changed = settings.set_charter(text, field, value)
        assert values(changed) == values(text) | {field: value}
        assert foreign(changed) == foreign(text) and statements(changed) == statements(text)
        assert changed.count("\r\n") >= text.count("\r\n")
        if field not in values(text) and "metaloop:" not in text:
            assert settings.unset_charter(changed, field) == text


@EVERY
def test_fields_that_are_all_unset_leave_the_other_text(text: str) -> None:
    changed = text
    for field in values(text):
        changed = settings.unset_charter(changed, field)
        assert foreign(changed) == foreign(text)
    assert values(changed) == {} and statements(changed) == statements(text)
    if text == FIXTURES["front matter only"]:
        assert changed == "---\nmetaloop:\n---\n"


def test_field_that_is_set_leaves_comments_of_our_block() -> None:
    text = "---\nmetaloop:  # ours\n  # how wide\n  wave: 3   # three\n  keep:\n    rule: 'margin'\n---\nGo.\n"
    changed = settings.set_charter(text, "keep.margin", 2.0)
    assert all(kept in changed for kept in ("# ours", "# how wide", "# three", "rule: 'margin'", "margin: 2.0"))
    for field in ("keep.margin", "keep.rule"):
        changed = settings.unset_charter(changed, field)
    assert changed == text.replace("  keep:\n    rule: 'margin'\n", "")


@pytest.mark.parametrize(("field", "value"), [("wave", 0), ("keep.rule", "best"), ("wafe", 2), ("keep", 3)])
def test_field_with_a_bad_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ProgramError):
        settings.set_charter(MIXED, field, value)


@EVERY
def test_charter_of_another_program_is_taken_whole(text: str) -> None:
    for donor in ("Go.", FIXTURES["crlf"], FIXTURES["flow mapping"], MIXED):
        changed = settings.take_charter(text, donor)
        assert Program.parse(changed).charter == Program.parse(donor).charter
        assert foreign(changed) == foreign(text)


@EVERY
def test_directive_that_is_removed_leaves_the_others(text: str) -> None:
    for directive in Program.parse(text).directives:
        if directive.kind == "order":
            continue
        if text.strip("\ufeff\n") == directive.text:
            with pytest.raises(ProgramError):
                removed(text, directive.directive_id)
            continue
        changed, of_charter = removed(text, directive.directive_id), directive.kind == "charter"
        assert is_part(statements(changed), statements(text))
        assert of_charter or len(statements(changed)) < len(statements(text))
        assert of_charter or is_part([line for line in split_lines(changed) if line.strip()], split_lines(text))


@pytest.mark.parametrize(
    ("text", "number", "left"),
    [
        ("# T\n\none\n\ntwo\n\nthree\n", 0, "# T\n\ntwo\n\nthree\n"),
        ("# T\n\none\n\ntwo\n\nthree\n", 1, "# T\n\none\n\nthree\n"),
        ("# T\n\none\n\ntwo\n\nthree\n", 2, "# T\n\none\n\ntwo\n"),
        ("one\n```\ncode\n```\ntwo\n", 1, "one\n\ntwo\n"),  # which would be one paragraph
    ],
)
def test_directive_that_is_removed_takes_one_gap_along(text: str, number: int, left: str) -> None:
    assert removed(text, Program.parse(text).directives[number].directive_id) == left


@EVERY
def test_ideas_that_are_replaced_leave_the_rest(text: str) -> None:
    items = ["first `a=1`", "second *with* `b=2` and `c`", "日本語 `d=3`"]
    if text == FIXTURES["unclosed fence"]:
        with pytest.raises(ProgramError):
            edit.replace_ideas(text, items)
        return
    changed, longer, before = edit.replace_ideas(text, items), edit.append_ideas(text, items), ideas(text)
    assert ideas(longer) == [*before, *items] and ideas(changed) == items
    assert not before or longer.startswith(text[: text.index(before[0].split()[0])])
    kept, left = ([d for d in statements(t) if d[1] != "idea"] for t in (text, changed))
    assert [(kind, said) for _, kind, said in left] == [(kind, said) for _, kind, said in kept]
    assert edit.replace_ideas(changed, items) == changed and ideas(edit.replace_ideas(changed, [])) == []


@pytest.mark.parametrize("item", ["- nested", "# heading", "```", "", "1. one", "a\n\n- b"])
def test_idea_that_is_no_single_item_is_refused(item: str) -> None:
    with pytest.raises(ProgramError, match=r"idea 1 is not a single list item"):
        edit.replace_ideas("# T\n", [item])


@EVERY
def test_ideas_are_put_in_any_order_and_back(text: str) -> None:
    before = ideas(text)
    for order in itertools.islice(itertools.permutations(range(len(before))), 6):
        changed = edit.reorder_ideas(text, order)
        assert ideas(changed) == [before[i] for i in order]
        assert ideas(edit.reorder_ideas(changed, [order.index(i) for i in range(len(before))])) == before
    with pytest.raises(ValueError, match="not an order"):
        edit.reorder_ideas(text, [0] * (len(before) + 1))


def test_ideas_with_code_between_them_keep_their_order() -> None:
    text = "## Ideas\n\n- a\n\n  ```\n  code of a\n  ```\n\n- b\n"
    assert edit.reorder_ideas(text, [1, 0]) == text


@EVERY
def test_sections_join_to_the_body_and_are_replaced(text: str) -> None:
    lines = split_lines(text)
    body, parts = "".join(lines[locate(lines).end :]), edit.sections(text)
    assert "".join(part.text for part in parts) == body
    for part in parts:
        if [p.heading for p in parts].count(part.heading) == 1:
            assert edit.replace_section(text, part.heading, part.text) == text
            assert edit.replace_section(text, part.heading, "") == text.replace(body, body.replace(part.text, "", 1))


def test_part_that_is_not_there_is_not_found() -> None:
    text = "# T\r\n\r\n## A\r\n\r\nold\r\n\r\n## B\r\n"
    assert edit.replace_section(text, "a", "## A\n\nnew") == "# T\r\n\r\n## A\r\n\r\nnew\r\n## B\r\n"
    with pytest.raises(NotFound):
        edit.replace_section(text, "C", "")
    with pytest.raises(NotFound, match="no directive dffff"):
        removed("Go.", "dffff")


def test_settings_in_prose_describe_each_field_with_its_group() -> None:
    text = "# Research\n\nFind a better model.\n\n## Ideas\n- try `lr=0.1`\n"
    assert state_settings(text) == text
    for name, value in {"keep.rule": "paired", "wave": 6, "focus": ["a\nb"]}.items():
        text = set_charter(text, name, value)
    once = state_settings(text)
    before, added = once.split(f"\n\n## {SETTINGS_HEADING}\n")
    assert text.startswith(before) and state_settings(once) == once and Program.parse(once).charter.wave == 6
    lines = [line for line in added.splitlines() if line.startswith("- ")]
    names = ["keep.rule", "keep.margin", "keep.pairs", "keep.least", "wave", "focus"]
    assert [line[2:].partition(":")[0] for line in lines] == names
    assert lines[2] == f"- keep.pairs: 2 ({FIELDS['keep.pairs'].description})"
    assert lines[5].startswith('- focus: ["a\\nb"] (')
    again = state_settings(set_charter(once, "wave", 9))
    assert "wave: 9" in again and "wave: 6" not in again and again.count(SETTINGS_HEADING) == 1
    assert state_settings(crlf := again.replace("\n", "\r\n")) == crlf
