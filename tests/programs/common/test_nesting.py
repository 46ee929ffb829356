"""Brackets that are nested without end cost a reader much more than prose does, so they have a bound of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from programs.common.errors import ProgramError
from programs.common.text import DEEP, MAX_NESTED, refuse_nested
from programs.lint import check
from programs.program import Program
from programs.structure import _parser

SENTENCE = "Try a smaller learning rate and see whether it helps here, then go on from what was kept.\n\n"
SIZE = 1_600


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("![" * 130_000, 1),
        ("[" * 260_000, 1),
        ("# A\n\nProse.\n\n" + "[![" * 80_000, 5),
        ("![" * 40_000 + "]" * 40_000, 1),
        (("[" * 8 + "\n") * 400, 126),
        (("[" * 8 + "\r\n") * 400, 126),
        (("[" * 8 + "]" * 4) * 400, 1),
    ],
)
@pytest.mark.exploit(54)
def test_brackets_without_end_are_refused_with_their_line(text: str, line: int) -> None:
    (message,) = check(text.encode(), "program.md")
    assert (message.level, message.line) == ("error", line)
    assert message.message == f"more than {MAX_NESTED:,} square brackets are nested more than {DEEP} deep"
    with pytest.raises(ProgramError, match=rf"^program.md:{line}: more than 1,000 square brackets") as caught:
        Program.parse(text, "program.md")
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "- [ ] a box, [a link](b) and [an interval, 0)\n\n" * 3_000,
        "[" * (MAX_NESTED + DEEP),
        ("[" * DEEP + "]" * DEEP) * 10_000,
        ("![" * 8 + "\n\n") * (MAX_NESTED // 4),
        ("![" * 8 + "\r\n \t\r\n") * (MAX_NESTED // 4),
        "]" * 50_000 + "[a]",
    ],
)
def test_brackets_that_end_are_taken(text: str) -> None:
    refuse_nested(text, "program.md")


def calls(done: Callable[[str], object], text: str) -> int:
    """Calls of functions that something takes: what it costs, the same on every machine."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        done(text)
    finally:
        sys.setprofile(before)
    return count


def test_bounded_depth_costs_less_than_half_of_unbounded() -> None:
    parse = _parser().parse
    without_end = calls(parse, "![" * (SIZE // 2))
    for unit in ("![![![![]]]]", "[![[![ ]]]] ", "![![![![\n\n", "[a[a[a[a\n\n"):
        text = (unit * SIZE)[:SIZE]
        refuse_nested(text, "program.md")
        assert calls(parse, text) < without_end / 2, unit


@pytest.mark.exploit(54)
def test_text_that_is_refused_is_not_parsed() -> None:
    def lint(text: str) -> None:
        check(text.encode(), "program.md")

    lint("# What is loaded once.\n")
    assert calls(lint, "![" * 100_000) < calls(lint, SENTENCE)
