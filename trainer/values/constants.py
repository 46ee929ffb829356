"""Reads and rewrites top-level ``NAME = literal`` lines of a Python file."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import TypeGuard

from programs.common.bounded import python_tree


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a literal is a number; Python counts True and False as numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def syntax_tree(text: str) -> ast.Module | None:
    """None where the text is no Python, or nested too deeply."""
    try:
        return python_tree(text)
    except SyntaxError:
        return None


def assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """``NAME = value`` and ``NAME: type = value``."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        yield node.targets[0].id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def line_starts(text: str) -> list[int]:
    """The byte at which each line starts, as ast counts columns in UTF-8 bytes."""
    return [0, *accumulate(len(line) for line in text.encode().splitlines(keepends=True))]


def byte_span(node: ast.expr, starts: list[int]) -> tuple[int, int]:
    """The first byte of an expression, and the one after its last. ``starts``: `line_starts` of its text."""
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end_column


def python_literal(old: str, value: object) -> str:
    """A value as Python has it, quoted as the old one is."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and old.startswith('"') else repr(value)


@lru_cache(maxsize=64)  # a run reads the same few sources repeatedly
def _constants(text: str) -> dict[str, ast.expr]:
    """Name → the literal's node, for simple top-level assignments; the last one of a name counts."""
    tree = syntax_tree(text)
    return dict(pair for node in (tree.body if tree else ()) for pair in assignments(node))


@lru_cache(maxsize=64)
def read(text: str) -> Mapping[str, object]:
    """The value of every top-level constant; other expressions than literals are left out."""
    values = {}
    for name, node in _constants(text).items():
        try:
            values[name] = node.value if isinstance(node, ast.Constant) else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return values


def write(text: str, name: str, value: object) -> str | None:
    """``text`` with that constant's literal replaced and the rest of the line unchanged; None without the constant."""
    now = read(text)
    if name not in now:
        return None
    if now[name] == value and type(now[name]) is type(value):
        return text  # 1e-3 stays 1e-3: the same value is the same source
    raw = text.encode()
    start, end = byte_span(_constants(text)[name], line_starts(text))
    return (raw[:start] + python_literal(raw[start:end].decode(), value).encode() + raw[end:]).decode()
