"""Diff by directive: the rules of identity."""

from __future__ import annotations

import pytest

from programs.diff import diff
from programs.program import Program
from tests.programs.markdown import FIXTURES


def of(old: str, new: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    found = diff(Program.parse(old), Program.parse(new))
    pairs = [(a.text, b.text) for a, b in found.changed]
    return [d.text for d in found.added], [d.text for d in found.removed], pairs


@pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())
def test_a_program_does_not_differ_from_itself(text: str) -> None:
    assert of(text, text + "\n\n") == ([], [], [])


def test_similar_text_under_the_same_heading_is_a_change() -> None:
    old, new = "## A\n- keep it simple\n- stop\n", "## A\n- keep it very simple\n- stop\n"
    assert of(old, new) == ([], [], [("keep it simple", "keep it very simple")])


def test_dissimilar_text_is_removed_and_added() -> None:
    assert of("## A\n- abcdef\n", "## A\n- uvwxyz\n") == (["uvwxyz"], ["abcdef"], [])


def test_the_bound_is_sixty_percent() -> None:
    assert of("abcdefghij\n", "abcdef1234\n")[2] == [("abcdefghij", "abcdef1234")]  # ratio 0.6
    assert of("abcdefghij\n", "abcde12345\n")[2] == []  # ratio 0.5


def test_another_heading_is_another_directive() -> None:
    assert of("## A\n\nsame words\n", "## B\n\nsame words\n") == (["same words"], ["same words"], [])


def test_the_most_similar_pair_wins() -> None:
    added, removed, changed = of("- aaaaaaaaaa\n- aaaaaaaabb\n", "- aaaaaaaabc\n")
    assert (added, removed, changed) == ([], ["aaaaaaaaaa"], [("aaaaaaaabb", "aaaaaaaabc")])


def test_charter_fields_pair_by_name_only() -> None:
    old = "---\nmetaloop:\n  screen: {fraction: 0.25}\n---\nGo.\n"
    new = "---\nmetaloop:\n  screen: {promote: 0.25}\n  wave: 3\n---\nGo.\n"
    added, removed, changed = of(old, new)
    assert (added, removed, changed) == (["screen.promote: 0.25", "wave: 3"], ["screen.fraction: 0.25"], [])
    assert of(old, old.replace("0.25", "0.5"))[2] == [("screen.fraction: 0.25", "screen.fraction: 0.5")]


def test_a_new_order_is_the_only_change_of_a_reordered_list() -> None:
    found = diff(Program.parse("## Ideas\n- x\n- y\n- z\n"), Program.parse("## Ideas\n- z\n- y\n- x\n"))
    assert not found.added
    assert not found.removed
    assert [(a.kind, b.kind) for a, b in found.changed] == [("order", "order")]
