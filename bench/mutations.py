"""Mutations of source files: found again by the syntax tree, applied to a text, drawn at random.

A mutation is anchored by file, qualified name of the class or function, and the source of one expression or statement
in it. The source is compared as a syntax tree, so neither moved lines nor formatting lose it; a text that is not Python
(SQL, a prompt) is anchored by its words. An anchor that occurs never, or more than once, is an error.
"""

from __future__ import annotations

import ast
import copy
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MOST_LINES = 8  # of an anchor that is drawn
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
_ONE_WAY = {"isinstance", "map", "filter", "object.__setattr__", "cast"}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


class LostError(Exception):
    """The anchor of a mutation does not occur, or occurs more than once."""


@dataclass(frozen=True)
class Mutation:
    """``node`` in ``where`` (empty: anywhere in the file) of ``file`` becomes ``becomes``, both as source. ``tests``:
    those that should notice; of a drawn one, those of its file or ``area``. ``equivalent``: why no test can notice, or
    empty. ``operator``: what drew it, if it was drawn."""

    name: str
    file: str
    where: str
    node: str
    becomes: str
    tests: tuple[str, ...] = ()
    area: str = ""
    equivalent: str = ""
    operator: str = ""


def apply(mutation: Mutation, text: str) -> str:
    """The text of the file under the mutation. Raises LostError."""
    if not mutation.file.endswith(".py"):
        return _replace_words(mutation, text)
    node = find(ast.parse(text), mutation)
    lines = text.splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + _column(lines[node.lineno - 1], node.col_offset)
    last = lines[(node.end_lineno or 0) - 1]
    end = sum(map(len, lines[: (node.end_lineno or 0) - 1])) + _column(last, node.end_col_offset or 0)
    becomes = mutation.becomes.strip("\n")
    becomes = becomes.replace("\n", "\n" + " " * node.col_offset) if isinstance(node, ast.stmt) else f"({becomes})"
    changed = text[:start] + becomes + text[end:]
    if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text)):
        raise LostError(f"{mutation.name}: changes nothing in {mutation.file}")
    return changed


def find(tree: ast.Module, mutation: Mutation) -> Any:
    """The one expression or statement that a mutation is anchored to. Raises LostError."""
    wanted = ast.dump(_parsed(mutation.node))
    scopes = [node for name, node in scopes_of(tree) if name == mutation.where]
    matches = [node for scope in scopes for node in ast.walk(scope) if node is not scope and _same(node, wanted)]
    if len(matches) != 1:
        location = f"{mutation.file}, {mutation.where or 'the whole file'}"
        raise LostError(f"{mutation.name}: its anchor occurs {len(matches)} times in {location}: {mutation.node}")
    return matches[0]


def scopes_of(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """(qualified name, node) of the module, under the empty name, and of each class and function."""

    def inner(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + child.name, child
                yield from inner(child, f"{prefix}{child.name}.")
            else:
                yield from inner(child, prefix)

    yield "", tree
    yield from inner(tree, "")


def _parsed(source: str) -> ast.AST:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except SyntaxError:
        body = ast.parse(source.strip()).body
        if len(body) != 1:
            raise LostError(f"an anchor is one expression or one statement: {source}") from None
        return body[0]


def _same(node: ast.AST, wanted: str) -> bool:
    return isinstance(node, ast.expr | ast.stmt) and not isinstance(node, ast.Expr) and ast.dump(node) == wanted


def _column(line: str, offset: int) -> int:
    """Characters before a place that the syntax tree counts in bytes of UTF-8."""
    return len(line.encode()[:offset].decode())


def _replace_words(mutation: Mutation, text: str) -> str:
    pattern = r"\s+".join(map(re.escape, mutation.node.split()))
    if len(matches := list(re.finditer(pattern, text))) != 1:
        raise LostError(f"{mutation.name}: its anchor occurs {len(matches)} times in {mutation.file}: {mutation.node}")
    return text[: matches[0].start()] + mutation.becomes + text[matches[0].end() :]


# ---- drawing ----


class Change(NamedTuple):
    """One way to mutate one node: what becomes of it, as source."""

    operator: str
    node: Any
    becomes: ast.AST


def changes(node: ast.AST) -> Iterator[Change]:
    """Every change that an operator makes of this very node, not of those within it."""
    for name, operator in OPERATORS.items():
        for made in operator(node):
            yield Change(name, node, made)


def _with(node: Any, **fields: Any) -> Any:
    made = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _FLIPPED:
        yield _with(node, ops=[_FLIPPED[type(node.ops[0])](), *node.ops[1:]])


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield ast.Constant(node.value * 2 or 1.0)


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED:
        yield _with(node, op=_SWAPPED[type(node.op)]())


def _logic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _operand(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        for i in range(len(node.values)):
            rest = node.values[:i] + node.values[i + 1 :]
            yield rest[0] if len(rest) == 1 else _with(node, values=rest)


def _negation(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand


def _arguments(node: ast.AST) -> Iterator[ast.AST]:
    """The first two; not of calls such as `isinstance`, which every test of the line would notice."""
    if not isinstance(node, ast.Call) or len(node.args) < 2 or any(isinstance(a, ast.Starred) for a in node.args):
        return
    if ast.unparse(node.func) not in _ONE_WAY and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])


def _called(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NAMES:
        yield _with(node, func=ast.Name(_NAMES[node.func.id], ast.Load()))


def _condition(node: ast.AST) -> Iterator[ast.AST]:
    """A statement's condition that always or never holds: anchored as the condition."""
    if isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
        yield ast.Constant(True)
        yield ast.Constant(False)


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
        yield ast.Pass()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield ast.Constant(None)


def _result(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


OPERATORS: dict[str, Callable[[ast.AST], Iterator[ast.AST]]] = {
    "comparison flipped": _comparison, "constant changed": _constant, "arithmetic swapped": _arithmetic,
    "and, or": _logic, "operand dropped": _operand, "not dropped": _negation, "arguments swapped": _arguments,
    "min, max, any, all": _called, "condition dropped": _condition, "statement dropped": _statement,
    "returns None": _result,
}  # fmt: skip


def draw(area: str, files: list[str], root: Path, rng: random.Random) -> Mutation:
    """One mutation of one of the files: the operator first, each alike, then a place in it, each alike."""
    by_operator: dict[str, list[tuple[str, str, list[Any], Change]]] = {}
    for file in files:
        for where, chain, change in _places(ast.parse((root / file).read_text())):
            by_operator.setdefault(change.operator, []).append((file, where, chain, change))
    while True:
        file, where, chain, change = rng.choice(by_operator[rng.choice(sorted(by_operator))])
        tree = ast.parse((root / file).read_text())
        if (anchored := _anchored(area, file, tree, where, chain, change)) is not None:
            return anchored


def _places(tree: ast.Module) -> Iterator[tuple[str, list[Any], Change]]:
    """(qualified name, nodes from there down to the one to be changed, change), without annotations and texts."""

    def inner(node: ast.AST, where: str, chain: list[Any]) -> Iterator[tuple[str, list[Any], Change]]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "defaults", "kw_defaults"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                    continue
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield from inner(child, f"{where}.{child.name}".lstrip("."), [])
                    continue
                here = [*chain, child]
                yield from ((where, here, change) for change in changes(child))
                yield from inner(child, where, here)

    yield from inner(tree, "", [])


def _anchored(area: str, file: str, tree: ast.Module, where: str, chain: list[Any], change: Change) -> Mutation | None:
    """The mutation under the smallest anchor around the change that occurs once in its function; None if none does."""
    old: Any = change.node
    new: Any = change.becomes
    if isinstance(old, ast.If):
        old = old.test
    elif isinstance(old, ast.Expr):
        old = old.value
    for node in reversed([*chain, old] if old is not chain[-1] else chain):
        if isinstance(node, ast.expr | ast.stmt) and not isinstance(node, ast.Expr):
            source, becomes = ast.unparse(node), ast.unparse(_exchange(node, old, new))
            if source.count("\n") >= MOST_LINES:
                return None
            made = Mutation("", file, where, source, becomes, operator=change.operator)
            try:
                find(tree, made)
            except LostError:
                continue
            short = re.sub(r"[\W_]+", "-", f"{area}-{Path(file).stem}-{where}").strip("-").lower()
            return Mutation(short, file, where, source, becomes, area=area, operator=change.operator)
    return None


def _exchange(tree: Any, old: Any, new: Any) -> Any:
    """A copy of the tree with ``new`` in the place of ``old``."""
    if tree is old:
        return new
    made = copy.copy(tree)
    for name, value in ast.iter_fields(tree):
        if isinstance(value, list):
            setattr(made, name, [_exchange(item, old, new) for item in value])
        elif isinstance(value, ast.AST):
            setattr(made, name, _exchange(value, old, new))
    return made
