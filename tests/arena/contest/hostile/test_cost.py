"""Texts that are made to take long: what they cost is told against plain prose of the same size, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import pytest

from programs.common.text import MAX_BYTES
from programs.diff import diff
from programs.lint import check
from programs.program import Program
from programs.shelf import starter
from tests.arena.contest.hostile.attacks import Case, attacks, mark

pytestmark = pytest.mark.slow
RATIO = 40.0
LEAST = 0.05  # CPU seconds, below which no ratio says anything
MOST = 60_000  # characters of a program that pages compare


def taken(raw: bytes) -> bool:
    return not any(message.level == "error" for message in check(raw, "program.md"))


def read(text: str) -> None:
    check(text.encode(), "program.md")


def compare(text: str) -> None:
    if len(text) <= MOST and taken(text.encode()):
        diff(starter("stock"), Program.parse(text, "x"))


STEPS = (read, compare)


def cost(step: Callable[[str], None], text: str) -> float:
    """CPU seconds of one thread."""
    began = time.thread_time()
    step(text)
    return time.thread_time() - began


@cache
def plain(size: int) -> dict[str, float]:
    """What prose of that size costs; each a text of its own, for some of it is remembered."""
    sentence = "Try a smaller learning rate and see whether it helps here, then go on from what was kept.\n\n"
    line = (sentence * (size // len(sentence) + 1))[: size - 2]
    return {step.__name__: max(cost(step, f"{line}{i}\n"), LEAST) for i, step in enumerate(STEPS)}


@attacks("cost")
def test_it_costs_what_prose_costs(case: Case) -> None:
    text = case.raw.decode()
    if case.told.get("like") == "stock":
        longest = max((d.text for d in starter("stock").directives), key=len)
        items = "".join(f"- {longest[i % 50 :]}{longest[: i % 50]}\n" for i in range(400))
        text = "# Stock\n\n## What you may change\n\n" + items[:60_000]
    Program.parse("# x\n")  # the parse of this text is not remembered
    usual = plain(round(min(len(text.encode()), MAX_BYTES), -4))
    spent = {step.__name__: cost(step, text) for step in STEPS}
    slow = {name: round(spent[name] / usual[name], 1) for name in spent if spent[name] > RATIO * usual[name]}
    case.held(not slow, slow)


@mark("cost")
def test_two_entries_made_to_be_compared() -> None:
    """Whoever reads may choose what an entry is compared with: another by the same hand, of nearly the same words."""
    from arena.contest.web.entry import difference

    one, other = ("# A\n\n" + "".join(f"- abcdefgh {word} {i:05d}\n" for i in range(2200)) for word in ("xyz", "zyx"))
    began = time.thread_time()
    assert difference(one, other) is None
    assert time.thread_time() - began < RATIO * LEAST
