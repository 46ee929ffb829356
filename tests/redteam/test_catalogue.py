"""The page for hosts and the tests agree: every exploit has a row, every row names tests that try it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from bench.redteam import catalogue

HERE = Path(__file__).parent
FEWEST = 43
NEEDS_A_GPU = 41


@cache
def marked() -> dict[str, set[int]]:
    """Name of each test → the numbers that its decorators name, those of single parameters included."""
    found: dict[str, set[int]] = defaultdict(set)
    for path in sorted(HERE.parent.rglob("test_*.py")):
        text = path.read_text()
        for node in ast.parse(text).body if "mark.exploit(" in text else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                decorators = " ".join(map(ast.unparse, node.decorator_list))
                found[node.name] |= {int(number) for number in re.findall(r"mark\.exploit\((\d+)\)", decorators)}
    return found


def test_every_exploit_has_a_row() -> None:
    assert sorted(catalogue()) == list(range(1, max(FEWEST, len(catalogue())) + 1))


def test_a_row_names_the_tests_that_try_it() -> None:
    tests = marked()
    for number, (_, shown) in catalogue().items():
        needs, _, names = shown.rpartition("; without one: ")
        assert needs == ("needs a GPU" if number == NEEDS_A_GPU else "")
        for name in names.split(", "):
            assert number in tests[name], f"{name} is not marked as a test of exploit {number}"


def test_what_is_marked_is_in_the_table() -> None:
    assert {number for numbers in marked().values() for number in numbers} == set(catalogue())
