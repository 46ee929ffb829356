"""Every regular expression of the product, on input made to be slow for it: its time grows no faster than the square.

The expressions are drawn out of the source. For each repeat in one, the input is what comes before it, then many
copies of what it repeats, then something that does not match; and many copies of what comes before it.
"""

from __future__ import annotations

import ast
import importlib
import re
import signal
import string
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("programs", "trainer", "inner_loop", "analysis", "arena", "meta")
METHODS = ("match", "fullmatch", "search", "findall", "finditer", "sub", "split")
REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None))
COPIES = 2_000  # of what an expression repeats; its square takes half a second at most, its cube minutes
LIMIT = 4.0  # seconds
PAIRED = " -a1."  # letters of two repeats after each other
LETTERS = string.ascii_letters + string.digits + " \t\n_-.,:;/\\#=+*'\"`()[]{}<>|@~^é€\x1b\0"
Drawn = tuple[str, re.Pattern[Any], str]


def drawn() -> list[Drawn]:
    """(where, expression, the method that applies it), each once."""
    found: dict[tuple[str, int, str], Drawn] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "tasks" not in path.parts:
                for where, pattern, method in expressions_of(path):
                    found.setdefault((str(pattern.pattern), pattern.flags, method), (where, pattern, method))
    again = tomllib.loads((ROOT / "analysis/imports/aliases.toml").read_text())["again"]
    found |= {(text, 0, "search"): (f"aliases.toml {name}", re.compile(text), "search") for name, text in again.items()}
    return list(found.values())


def expressions_of(path: Path) -> Iterator[Drawn]:
    text = path.read_text(encoding="utf-8")
    if not re.search(r"\bre\.", text):
        return
    tree, name = ast.parse(text), ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name.removesuffix(".__init__"))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        if node.func.attr not in (*METHODS, "compile"):
            continue
        for pattern in texts_of(node.args[0], vars(module)):
            flags = 0
            for argument in (*node.args[1:], *(keyword.value for keyword in node.keywords)):
                if (words := ast.unparse(argument)).startswith("re."):
                    flags |= eval(words, {"re": re})
            compiled = re.compile(pattern, flags)
            methods = [node.func.attr] if node.func.attr != "compile" else used(text, tree, node)
            yield from ((where, compiled, method) for method in methods)


def texts_of(node: ast.expr, names: dict[str, Any]) -> Iterator[Any]:
    """The expression as text: values known only in a call are a letter."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(part.value)
                continue
            value = (
                names.get(part.value.id)
                if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name)
                else None
            )
            parts.append(str(value) if isinstance(value, str | int) else "a")
        yield "".join(parts)
    elif isinstance(node, ast.Name) and isinstance(names.get(node.id), str | bytes):
        yield names[node.id]
    elif isinstance(node, ast.BinOp):
        yield from (a + b for a in texts_of(node.left, names) for b in texts_of(node.right, names))


def used(text: str, tree: ast.Module, call: ast.Call) -> list[str]:
    """The methods of a compiled expression in its module; `search`, the slowest, where they are not seen."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and any(inner is call for inner in ast.walk(node)):
            methods = {*re.findall(rf"\b{target.id}\.({'|'.join(METHODS)})\b", text)}
            return sorted(methods or {*re.findall(rf"(?<!re)\.({'|'.join(METHODS[:-1])})\(", text)}) or ["search"]
    return ["search"]


def sample(items: Any) -> str:
    """A short text that the parsed part of an expression matches, as far as its characters go."""
    return "".join(map(of_item, items))


def of_item(item: Any) -> str:
    op, value = item
    if op is sre.LITERAL:
        return chr(value)
    if op in (sre.IN, sre.ANY, sre.NOT_LITERAL):
        return first_of(item)
    if op in REPEATS:
        return sample(value[2]) * max(value[0], 1)
    if op is sre.SUBPATTERN:
        return sample(value[3])
    if op is sre.ATOMIC_GROUP if hasattr(sre, "ATOMIC_GROUP") else False:
        return sample(value)
    if op is sre.BRANCH:
        return sample(value[1][0])
    return ""


def first_of(item: Any) -> str:
    return next(iter(all_of(item)), "")


def all_of(item: Any) -> str:
    """The letters that an item of one letter matches, of those that attackers try."""
    one = sre_parser.SubPattern(sre_parser.State(), [item])
    compiled = re._compiler.compile(one)  # type: ignore[attr-defined]
    return "".join(letter for letter in LETTERS if compiled.fullmatch(letter))


def repeats(items: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(what comes before, what is repeated) of each repeat without a small bound, at any depth."""
    for item in items:
        op, value = item
        if op in REPEATS:
            if value[1] > 100:
                body = list(value[2])
                if len(body) == 1 and body[0][0] in (sre.IN, sre.ANY, sre.NOT_LITERAL):
                    yield from ((before, letter) for letter in all_of(body[0]))
                else:
                    yield before, sample(body)
            yield from repeats(value[2], before)
        elif op is sre.SUBPATTERN:
            yield from repeats(value[3], before)
        elif op is sre.BRANCH:
            for way in value[1]:
                yield from repeats(way, before)
        before += of_item(item)


def attacks(pattern: re.Pattern[Any], copies: int = COPIES) -> Iterator[Any]:
    found = dict.fromkeys(repeats(sre_parser.parse(pattern.pattern, pattern.flags)))
    for before, body in found:
        for end in ("", "\n!", "\x00"):
            text = before + body * (copies // max(1, len(body))) + end
            yield text.encode() if isinstance(pattern.pattern, bytes) else text
        if before:
            text = before * (copies // len(before)) + "!"
            yield text.encode() if isinstance(pattern.pattern, bytes) else text
    for before, body in found:
        for _, other in found:
            if body != other and max(len(body), len(other)) < 9 and {body, other} <= {*PAIRED}:
                text = before + body * (copies // 4 // len(body)) + other * (copies // 4 // len(other)) + "\0"
                yield text.encode() if isinstance(pattern.pattern, bytes) else text


def seconds(pattern: re.Pattern[Any], method: str, text: Any) -> float:
    begun = time.process_time()
    if method == "sub":
        pattern.sub(text[:0], text)
    elif method == "finditer":
        list(pattern.finditer(text))
    else:
        getattr(pattern, method)(text)
    return time.process_time() - begun


def slowest(pattern: re.Pattern[Any], method: str) -> float:
    return max((seconds(pattern, method, text) for text in attacks(pattern)), default=0.0)


@pytest.mark.parametrize(
    ("where", "pattern", "method"), drawn(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_regular_expression_on_hostile_text_is_at_most_square(
    where: str, pattern: re.Pattern[Any], method: str
) -> None:
    def too_long(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"{where}: {pattern.pattern!r} with {method} takes more than {LIMIT} s")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, 10 * LIMIT)  # of this process alone: other processes may want the cores
    try:
        assert slowest(pattern, method) < LIMIT
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("text", [r"\s*\|?[\s:|-]*--[\s:|-]*", r"\s*\[\s*([\w.\s-]+?)\s*\]\s*"])
def test_regular_expression_that_is_cubic_is_found(text: str) -> None:
    pattern = re.compile(text)
    small, large = (
        max(min(seconds(pattern, "fullmatch", attack) for _ in range(times)) for attack in attacks(pattern, n))
        for n, times in ((150, 3), (450, 1))
    )
    assert large > 13 * small  # of a square 9, of a cube 27
