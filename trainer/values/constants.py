"""Reads and rewrites top-level ``NAME = literal`` lines of a Python file."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from functools import lru_cache
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


@lru_cache(maxsize=64)  # a run reads the same few sources repeatedly
def _assignments(text: str) -> dict[str, ast.expr]:
    """Name → the literal's node, for simple top-level assignments; the last one of a name counts."""
    tree = syntax_tree(text)
    nodes: dict[str, ast.expr] = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            nodes[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            nodes[node.target.id] = node.value
    return nodes


@lru_cache(maxsize=64)
def read(text: str) -> Mapping[str, object]:
    """The value of every top-level constant; other expressions than literals are left out."""
    values = {}
    for name, node in _assignments(text).items():
        try:
            values[name] = node.value if isinstance(node, ast.Constant) else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return values


def write(text: str, name: str, value: object) -> str | None:
    """``text`` with that constant's literal replaced and the rest of the line unchanged; None without the constant."""
    node = _assignments(text).get(name)
    now = read(text)
    if node is None or name not in now or node.end_lineno is None or node.end_col_offset is None:
        return None
    if now[name] == value and type(now[name]) is type(value):
        return text  # 1e-3 stays 1e-3: the same value is the same source
    lines = text.encode().splitlines(keepends=True)  # ast counts columns in UTF-8 bytes
    first, last = node.lineno - 1, node.end_lineno - 1
    head, tail = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    double = isinstance(value, str) and lines[first][node.col_offset :].startswith(b'"')
    literal = json.dumps(value, ensure_ascii=False) if double else repr(value)
    lines[first : last + 1] = [head + literal.encode() + tail]
    return b"".join(lines).decode()
