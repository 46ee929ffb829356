"""Values of a file that are no plain constants of its top level: each has an address, and can be read and rewritten.

In Python ``Config.lr`` is a field of a class, ``--lr`` the default of a command-line option, ``OPT[lr]`` an entry of a
dict, ``BETAS[0]`` of a tuple, and ``TOKENS`` a product such as ``2**19``. In YAML, TOML and JSON ``optim.lr`` is the
path of a key. Only the bytes of a value are rewritten, so comments and layout stay. An address that occurs twice in a
file is not used.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from trainer.values import config_values
from trainer.values.constants import assignments, byte_span, is_number, line_starts, python_literal, syntax_tree

Scalar = bool | int | float | str
_MOST_TEXT = 1 << 18
_LONGEST, _LARGEST = 200, 1 << 62
_HOLDERS = {"dict", "SimpleNamespace", "Namespace", "EasyDict", "ConfigDict", "AttrDict", "Box", "DotMap"}
_MOST_PARTS = 50  # of a product, one within the other
_FIELDS = {"field", "Field", "ib", "attrib", "Param"}


@dataclass(frozen=True)
class NestedValue:
    """``start``, ``end``: its bytes in the file. ``kind``: how a program gets at it. ``name``: of its innermost part,
    ``owner``: what it belongs to (a class, function, dict, section). ``choices``: the values that an option allows."""

    value: Scalar
    start: int
    end: int
    line: int
    kind: str
    name: str
    owner: str = ""
    choices: tuple[Scalar, ...] = ()


@lru_cache(maxsize=128)  # a run reads the same few sources repeatedly
def read(file: str, text: str) -> Mapping[str, NestedValue]:
    """Address → value; empty for other kinds of files, and for texts that do not parse."""
    if len(text) > _MOST_TEXT:
        return {}
    values = list(_of_python(text) if file.endswith(".py") else _of_config(file, text))
    times = Counter(address for address, _ in values)
    starts = Counter(value.start for _, value in values)
    return {address: value for address, value in values if times[address] == 1 and starts[value.start] == 1}


def write(file: str, text: str, address: str, value: Scalar) -> str | None:
    """``text`` with that value and no other changed; None if there is none, or it cannot be changed alone."""
    before = read(file, text)
    if (nested := before.get(address)) is None:
        return None
    if nested.value == value and type(nested.value) is type(value):
        return text  # 1e-3 stays 1e-3: the same value is the same source
    raw = text.encode()
    old = raw[nested.start : nested.end].decode()
    new = _literal(old, value) if file.endswith(".py") else config_values.literal(file, old, value)
    changed = (raw[: nested.start] + new.encode() + raw[nested.end :]).decode()
    after = read(file, changed)
    same = {name: entry.value for name, entry in before.items()} | {address: value}
    return changed if {name: entry.value for name, entry in after.items()} == same else None


def _literal(old: str, value: Scalar) -> str:
    base, power, exponent = old.replace(" ", "").partition("**")
    if power and base == "2" and exponent.isdigit() and type(value) is int and value > 0 and value.bit_count() == 1:
        return f"2**{value.bit_length() - 1}"
    return python_literal(old, value)


def _of_config(file: str, text: str) -> Iterator[tuple[str, NestedValue]]:
    for path, value, start, end in config_values.read(file, text):
        owner, _, name = path.rpartition(".")
        line = text.encode()[:start].count(b"\n") + 1
        yield path, NestedValue(value, start, end, line, "key", name.partition("[")[0], owner)


class _Place(NamedTuple):
    """An expression with an address, and the fields of its `NestedValue`."""

    address: str
    node: ast.expr
    kind: str
    name: str
    owner: str = ""
    choices: tuple[Scalar, ...] = ()

    def parts(self) -> Iterator[_Place]:
        """Itself; of a tuple or list its numbers."""
        if not isinstance(self.node, ast.Tuple | ast.List):
            yield self
        elif 1 < len(self.node.elts) <= 8:
            for index, item in enumerate(self.node.elts):
                if is_number(scalar(item)):
                    yield self._replace(address=f"{self.address}[{index}]", node=item, name=f"{self.name}_{index}")


def _of_python(text: str) -> Iterator[tuple[str, NestedValue]]:
    tree = syntax_tree(text)
    if tree is None:
        return
    starts = line_starts(text)
    for address, node, kind, name, owner, choices in (part for place in _places(tree) for part in place.parts()):
        if (value := scalar(node)) is not None:
            start, end = byte_span(node, starts)
            yield address, NestedValue(value, start, end, node.lineno, kind, name, owner, choices)


def _places(tree: ast.Module) -> Iterator[_Place]:
    for node in tree.body:
        for name, value in assignments(node):
            if isinstance(value, ast.Dict | ast.Call):
                yield from _entries(value, name, name)
            elif isinstance(value, ast.Tuple | ast.List):
                yield _Place(name, value, "entry", name, name)
            else:  # an edited product is a plain constant
                yield _Place(name, value, "product" if isinstance(value, ast.BinOp) else "constant", name)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                for name, value in assignments(inner):
                    yield _Place(f"{node.name}.{name}", _default(value), "field", name, node.name)
    yield from _options(tree)


def _default(node: ast.expr) -> ast.expr:
    """What ``field(default=…)`` of a dataclass and ``Field(…)`` set."""
    if not isinstance(node, ast.Call) or _callee(node) not in _FIELDS:
        return node
    for keyword in node.keywords:
        if keyword.arg == "default":
            return keyword.value
        if keyword.arg == "default_factory" and isinstance(keyword.value, ast.Lambda):
            return keyword.value.body
    return node.args[0] if node.args else node


def _callee(node: ast.Call) -> str:
    """The last name of what is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _entries(node: ast.Dict | ast.Call, address: str, owner: str) -> Iterator[_Place]:
    """The entries of a dict, also one written ``dict(a=1)``, and of dicts and tuples in it."""
    pairs: list[tuple[str, ast.expr]] = []
    if isinstance(node, ast.Dict):
        pairs = [
            (key.value, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
    elif _callee(node) in _HOLDERS:
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
    for key, value in pairs:
        inner = f"{address}[{key}]"
        if isinstance(value, ast.Dict | ast.Call):
            yield from _entries(value, inner, owner)
        elif key.isidentifier():
            yield _Place(inner, value, "entry", key, owner)


def _options(tree: ast.Module) -> Iterator[_Place]:
    """The defaults of the options that calls declare, in the order of the text."""
    waiting: list[ast.AST] = [tree]  # a sum of thousands of terms is a tree as deep
    while waiting:
        node = waiting.pop()
        waiting += reversed(list(ast.iter_child_nodes(node)))
        if isinstance(node, ast.Call) and _callee(node) in ("add_argument", "option", "add_option"):
            texts = [
                constant.value
                for constant in node.args
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
            ]
            option = next((text.partition("/")[0] for text in texts if text.startswith("--")), "")
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if option and "default" in keywords and "action" not in keywords:
                listed = keywords.get("choices")
                items = listed.elts if isinstance(listed, ast.List | ast.Tuple) else []
                choices = tuple(value for item in items if (value := scalar(item)) is not None)
                name = option.lstrip("-").replace("-", "_")
                yield _Place(option, keywords["default"], "option", name, _callee(node), choices)


def scalar(node: ast.expr, parts: int = _MOST_PARTS) -> Scalar | None:
    """The value of a literal, or of a product or power of numbers; None for other expressions, and for numbers beyond
    floats. ``parts``: how deep they may be within each other."""
    if not parts:
        return None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return node.value if len(node.value) <= _LONGEST and node.value.isprintable() else None
        return node.value if isinstance(node.value, bool | int | float) and abs(node.value) < _LARGEST else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = scalar(node.operand, parts - 1)
        return -inner if is_number(inner) else None
    if not isinstance(node, ast.BinOp):
        return None
    left, right = scalar(node.left, parts - 1), scalar(node.right, parts - 1)
    if isinstance(left, bool | str | None) or isinstance(right, bool | str | None):
        return None
    if isinstance(node.op, ast.Mult):
        value = left * right
    elif isinstance(node.op, ast.Pow) and abs(left) <= 1000 and abs(right) <= 62 and (left != 0 or right > 0):
        try:
            value = left**right
        except OverflowError:  # a tiny number to a negative power
            return None
    elif isinstance(node.op, ast.Div) and right != 0:
        value = left / right
    else:
        return None
    return value if isinstance(value, int | float) and abs(value) < _LARGEST else None
