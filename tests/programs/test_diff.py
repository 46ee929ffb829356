"""Diff by directive: the rules of identity."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.diff import diff, moved
from programs.program import Program
from tests.programs.markdown import FIXTURES


def of(old: str, new: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    found = diff(Program.parse(old), Program.parse(new))
    pairs = [(a.text, b.text) for a, b in found.changed]
    return [d.text for d in found.added], [d.text for d in found.removed], pairs


@pytest.mark.parametrize("text", FIXTURES.values(), ids=FIXTURES.keys())
def test_a_program_does_not_differ_from_itself(text: str) -> None:
    assert of(text, text + "\n\n") == ([], [], [])


SCREEN = "---\nmetaloop:\n  screen: {fraction: 0.25}\n---\nGo.\n"
OTHER = "---\nmetaloop:\n  screen: {promote: 0.25}\n  wave: 3\n---\nGo.\n"


@pytest.mark.parametrize(
    ("old", "new", "added", "removed", "changed"),
    [
        (
            "## A\n- keep it simple\n- stop\n", "## A\n- keep it very simple\n- stop\n", "", "",
            [("keep it simple", "keep it very simple")],
        ),
        ("abcdefghij\n", "abcdef1234\n", "", "", [("abcdefghij", "abcdef1234")]),  # a ratio of 0.6 is enough
        ("abcdefghij\n", "abcde12345\n", "abcde12345", "abcdefghij", []),  # 0.5 is not
        ("## A\n\nsame words\n", "## B\n\nsame words\n", "same words", "same words", []),
        ("- aaaaaaaaaa\n- aaaaaaaabb\n", "- aaaaaaaabc\n", "", "aaaaaaaaaa", [("aaaaaaaabb", "aaaaaaaabc")]),
        (SCREEN, OTHER, "screen.promote: 0.25|wave: 3", "screen.fraction: 0.25", []),  # fields pair by name only
        (SCREEN, SCREEN.replace("0.25", "0.5"), "", "", [("screen.fraction: 0.25", "screen.fraction: 0.5")]),
    ],
)  # fmt: skip
def test_most_similar_text_under_the_same_heading_is_a_change(
    old: str, new: str, added: str, removed: str, changed: list[tuple[str, str]]
) -> None:
    found = of(old, new)
    assert ("|".join(found[0]), "|".join(found[1]), found[2]) == (added, removed, changed)


def test_list_in_a_new_order_has_no_other_change() -> None:
    found = diff(Program.parse("## Ideas\n- x\n- y\n- z\n"), Program.parse("## Ideas\n- z\n- y\n- x\n"))
    assert not found.added and not found.removed
    assert [(a.kind, b.kind) for a, b in found.changed] == [("order", "order")]


@given(st.permutations("abcdef"))
def test_moved_ideas_are_the_fewest_of_any_permutation(order: list[str]) -> None:
    head = "# P\n\n- Go.\n\n## Ideas\n\n"
    old, new = (Program.parse(head + "".join(f"- idea {name}\n" for name in names)) for names in ("abcdef", order))
    found = [(idea.text[-1], before, after) for idea, before, after in moved(old, new)]
    assert found == [(name, "abcdef".index(name) + 1, order.index(name) + 1) for name, _, _ in found]
    rising = (kept for size in range(7) for kept in combinations(order, size) if list(kept) == sorted(kept))
    assert len(found) == 6 - max(map(len, rising))
