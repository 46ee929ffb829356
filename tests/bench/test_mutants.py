"""Mutations of the code: what may be drawn, where, and which tests run on it."""

from __future__ import annotations

import ast

from bench.mutants import draw, mutations, naming_tests

SOURCE = """def f(x: int, most: int = 3) -> bool:
    print(f"{x + 1}")
    return not x < 2 and "ü" != x + 1 or True
"""
EXPECTED = {
    ("statement deleted", 'print(f"{x + 1}")', "pass"),
    ("boolean operator", 'not x < 2 and "ü" != x + 1 or True', "((not x < 2 and 'ü' != x + 1) and True)"),
    ("boolean operator", 'not x < 2 and "ü" != x + 1', "(not x < 2 or 'ü' != x + 1)"),
    ("boolean operator", "not x < 2", "(x < 2)"),
    ("comparison", "x < 2", "(x <= 2)"),
    ("comparison", '"ü" != x + 1', "('ü' == x + 1)"),
    ("arithmetic", "x + 1", "(x - 1)"),
    ("constant", "2", "(3)"),
    ("constant", "1", "(2)"),
    ("constant", "True", "(False)"),
}


def test_a_mutation_changes_one_place_that_runs_and_nothing_else() -> None:
    found = list(mutations("f.py", SOURCE))
    assert {(one.kind, one.before, one.after) for one in found} == EXPECTED and len(found) == len(EXPECTED)
    for one in found:
        head, _, tail = SOURCE.rpartition(one.before)
        assert one.text == head + one.after + tail and ast.parse(one.text)
    drawn = draw(["bench/common.py", "bench/size.py"], 12, 1)
    assert drawn == draw(["bench/common.py", "bench/size.py"], 12, 1) and len(set(drawn)) == 12
    assert "tests/bench/test_mutants.py" in naming_tests("bench/mutants.py")
    assert naming_tests("bench/size.py") == ["tests/test_size.py"]
