"""Every edit leaves what it does not name byte for byte as it was."""

from __future__ import annotations

import itertools

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


def removed(text: str, directive_id: str) -> str:
    return edit.without(Program.parse(text), directive_id).text


@EVERY
def test_setting_a_charter_field_touches_only_our_block(text: str) -> None:
    for field, value in (("screen.fraction", 0.5), ("wave", 7), ("proposers", {"queue": 1.0, "local": 0.5})):
        changed = settings.set_charter(text, field, value)
        assert Program.parse(changed).charter.get(field) == value
        assert foreign(changed) == foreign(text)
        assert statements(changed) == statements(text)
        before = {f: v for f, v in values(text).items() if f != field}
        assert {f: v for f, v in values(changed).items() if f != field} == before
        assert changed.count("\r\n") >= text.count("\r\n")
        if field not in values(text) and "metaloop:" not in text:
            assert settings.unset_charter(changed, field) == text


@EVERY
def test_unsetting_every_field_leaves_the_stock_charter(text: str) -> None:
    changed = text
    for field in values(text):
        changed = settings.unset_charter(changed, field)
        assert foreign(changed) == foreign(text)
    assert values(changed) == {}
    assert statements(changed) == statements(text)


def test_comments_in_our_block_survive() -> None:
    text = "---\nmetaloop:  # ours\n  # how wide\n  wave: 3   # three\n  keep:\n    rule: 'margin'\n---\nGo.\n"
    changed = settings.set_charter(text, "keep.margin", 2.0)
    for kept in ("# ours", "# how wide", "# three", "rule: 'margin'", "margin: 2.0"):
        assert kept in changed
    assert settings.unset_charter(settings.unset_charter(changed, "keep.margin"), "keep.rule") == text.replace(
        "  keep:\n    rule: 'margin'\n", ""
    )


def test_a_program_that_is_only_a_charter_keeps_its_front_matter() -> None:
    text = settings.unset_charter("---\nmetaloop:\n  wave: 4\n---\n", "wave")
    assert text == "---\nmetaloop:\n---\n"


@pytest.mark.parametrize(("field", "value"), [("wave", 0), ("keep.rule", "best"), ("wafe", 2), ("keep", 3)])
def test_a_bad_charter_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ProgramError):
        settings.set_charter(MIXED, field, value)


@EVERY
def test_taking_a_charter_whole(text: str) -> None:
    for donor in ("Go.", FIXTURES["crlf"], FIXTURES["flow mapping"], MIXED):
        changed = settings.take_charter(text, donor)
        assert Program.parse(changed).charter == Program.parse(donor).charter
        assert foreign(changed) == foreign(text)


@EVERY
def test_removing_any_directive_leaves_the_others(text: str) -> None:
    program = Program.parse(text)
    for directive in program.directives:
        if directive.kind == "order":
            continue
        if text.strip("\ufeff\n") == directive.text:
            with pytest.raises(ProgramError):
                removed(text, directive.directive_id)
            continue
        changed = removed(text, directive.directive_id)
        left = statements(changed)
        assert len(left) < len(statements(text)) or directive.kind == "charter"
        assert is_subsequence(left, statements(text))
        assert is_subsequence([line for line in split_lines(changed) if line.strip()], split_lines(text)) or (
            directive.kind == "charter"
        )


def is_subsequence(part: list, whole: list) -> bool:  # type: ignore[type-arg]
    rest = iter(whole)
    return all(item in rest for item in part)


def test_removing_between_blocks_that_would_merge() -> None:
    text = FIXTURES["tight blocks"]
    code = next(d for d in Program.parse(text).directives if d.kind == "code")
    assert removed(text, code.directive_id).startswith("para one\n\npara two\n")


def test_removing_takes_one_gap_along() -> None:
    text = "# T\n\none\n\ntwo\n\nthree\n"
    for number, left in enumerate(("two\n\nthree", "one\n\nthree", "one\n\ntwo")):
        ident = Program.parse(text).directives[number].directive_id
        assert removed(text, ident) == f"# T\n\n{left}\n"


def test_an_unknown_directive_is_not_found() -> None:
    with pytest.raises(NotFound, match="no directive dffff"):
        removed("Go.", "dffff")


@EVERY
def test_replacing_the_ideas(text: str) -> None:
    items = ["first `a=1`", "second *with* `b=2` and `c`", "日本語 `d=3`"]
    try:
        changed = edit.replace_ideas(text, items)
        longer = edit.append_ideas(text, items)
    except ProgramError:
        assert text == FIXTURES["unclosed fence"]
        return
    before = Program.parse(text).ideas
    assert [idea.text for idea in Program.parse(longer).ideas] == [*(idea.text for idea in before), *items]
    assert not before or longer.startswith(text[: text.index(before[0].text.split()[0])])
    program = Program.parse(changed)
    assert [idea.text for idea in program.ideas] == items
    kept = [d.text for d in Program.parse(text).directives if d.kind not in ("idea", "order")]
    assert [d.text for d in program.directives if d.kind not in ("idea", "order")] == kept
    assert edit.replace_ideas(changed, items) == changed
    assert Program.parse(edit.replace_ideas(changed, [])).ideas == ()


@pytest.mark.parametrize("item", ["- nested", "# heading", "```", "", "1. one", "a\n\n- b"])
def test_an_idea_that_is_no_single_item_is_refused(item: str) -> None:
    with pytest.raises(ProgramError, match=r"idea 1 is not a single list item"):
        edit.replace_ideas("# T\n", [item])


@EVERY
def test_reordering_the_ideas_any_way(text: str) -> None:
    ideas = [idea.text for idea in Program.parse(text).ideas]
    for order in itertools.islice(itertools.permutations(range(len(ideas))), 6):
        changed = edit.reorder_ideas(text, order)
        assert [idea.text for idea in Program.parse(changed).ideas] == [ideas[i] for i in order]
        back = [order.index(i) for i in range(len(ideas))]
        assert [idea.text for idea in Program.parse(edit.reorder_ideas(changed, back)).ideas] == ideas
    with pytest.raises(ValueError, match="not an order"):
        edit.reorder_ideas(text, [0] * (len(ideas) + 1))


@pytest.mark.parametrize("item", ["a\n\n  ```\n  code of a\n  ```\n", "# a", "> a"])
def test_a_list_that_cannot_be_written_anew_is_not_reordered(item: str) -> None:
    text = f"## Ideas\n\n- {item}\n- b\n"
    assert edit.reorder_ideas(text, [1, 0]) in (text, "## Ideas\n\n- b\n- a\n")


@EVERY
def test_sections_join_to_the_body(text: str) -> None:
    lines = split_lines(text)
    body = "".join(lines[locate(lines).end :])
    parts = edit.sections(text)
    assert "".join(part.text for part in parts) == body
    for part in parts:
        if [p.heading for p in parts].count(part.heading) == 1:
            assert edit.replace_section(text, part.heading, part.text) == text
            assert edit.replace_section(text, part.heading, "") == text.replace(body, body.replace(part.text, "", 1))


def test_replacing_a_section_keeps_line_ends() -> None:
    text = "# T\r\n\r\n## A\r\n\r\nold\r\n\r\n## B\r\n"
    assert edit.replace_section(text, "a", "## A\n\nnew") == "# T\r\n\r\n## A\r\n\r\nnew\r\n## B\r\n"
    with pytest.raises(NotFound):
        edit.replace_section(text, "C", "")


def test_state_settings_describes_each_set_field_with_its_group() -> None:
    text = "# Research\n\nFind a better model.\n\n## Ideas\n- try `lr=0.1`\n"
    for name, value in {"keep.rule": "paired", "wave": 6, "focus": ["a\nb"]}.items():
        text = set_charter(text, name, value)
    _, added = state_settings(text).split(f"\n\n## {SETTINGS_HEADING}\n")
    lines = [line for line in added.splitlines() if line.startswith("- ")]
    names = ["keep.rule", "keep.margin", "keep.pairs", "keep.least", "wave", "focus"]
    assert [line[2:].partition(":")[0] for line in lines] == names
    assert lines[2] == f"- keep.pairs: 2 ({FIELDS['keep.pairs'].description})"
    assert lines[5].startswith('- focus: ["a\\nb"] (')


def test_state_settings_rewrites_the_section_and_keeps_the_rest() -> None:
    text = set_charter("# Research\n\nFind it.\n\n## Ideas\n- try `lr=0.1`\n", "wave", 6)
    once = state_settings(text)
    assert once.startswith(text) and state_settings(once) == once and Program.parse(once).charter.wave == 6
    again = state_settings(set_charter(once, "wave", 9))
    assert "wave: 9" in again and "wave: 6" not in again and again.count(SETTINGS_HEADING) == 1
    crlf = again.replace("\n", "\r\n")
    assert state_settings(crlf) == crlf


@pytest.mark.parametrize("text", ["# A\n\nGo.\n", "no newline at the end", "---\nother: tool\n---\n# x\n"])
def test_state_settings_without_settings_keeps_the_text(text: str) -> None:
    assert state_settings(text) == text
