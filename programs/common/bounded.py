"""Parses texts of strangers within limits of size, depth, number of values and time.

Candidates' sources, entries, results of volunteers, replies of models and logs go through these functions. Each either
returns what the text contains, soon, or raises `BeyondLimits`, a ValueError, or the parser's own ValueError.
"""

from __future__ import annotations

import ast
import json
import math
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

from programs.common.errors import MetaloopError, ProgramError
from programs.common.text import one_line

MOST_DIGITS = 40  # characters of a number; Python prints at most 24 of a float
LARGEST = 1e100  # of a number: the squares of larger ones overflow
MOST_YAML = 1 << 16  # characters: ruamel.yaml reads 30,000 a second
MOST_BRACKETS = 2_000  # opened in a YAML text
MOST_OPEN = 100  # of them at once: the scanner's time grows with the square of their number
MOST_DOTS = 1_000  # in a line of TOML: tomllib's time grows with the square of the dots of a key
MOST_VALUES = 1_000_000  # in a JSON text
_ONE_AT_A_TIME = threading.Lock()

YamlPath = tuple[str | int, ...]


class BeyondLimits(ValueError):
    """A text that is too large, nested too deeply or uses what a parser may need minutes for. One line says which."""


def fault_of(error: Exception) -> str:
    """One line about an exception while a stranger's text was handled, which is a fault of that text and ends no study.
    Raises it again where a user has to mend something first: a full disk, a missing key."""
    if isinstance(error, OSError | MetaloopError) and not isinstance(error, ProgramError):
        raise error
    if isinstance(error, ProgramError):
        return error.message
    return f"cannot be used: {type(error).__name__}: {one_line(str(error), 200)}"


@contextmanager
def handling_text(bad: type[Exception]) -> Iterator[None]:
    """Around what handles a stranger's text, such as a model's reply: its fault is raised as ``bad``. A reply is
    recorded, so a resumed study would end at it again and again."""
    try:
        yield
    except bad:
        raise
    except Exception as error:
        raise bad(fault_of(error)) from error


def number(text: str) -> int | float | None:
    """The finite number that a text states, with underscores between digits; None for other texts, for more than
    MOST_DIGITS characters and for numbers from LARGEST on."""
    text = text.strip().replace("_", "")
    if len(text) > MOST_DIGITS:
        return None
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) and abs(value) < LARGEST else None
    return None


def json_value(text: str | bytes | bytearray, *, strict: bool = True, finite: bool = True, unique: bool = False) -> Any:
    """The value of a JSON text. Raises ValueError, also for more than MOST_VALUES values and for absurd nesting, and if
    ``finite`` for NaN and infinities, which Python would read: a log has them where a training diverges. An integer of
    more than MOST_DIGITS characters is a float. ``strict``: texts contain no line ends.
    ``unique``: no key is there twice, of which others may read the first."""
    if not isinstance(text, str):
        text = text.decode("utf-8-sig")
    if sum(map(text.count, ",[{")) > MOST_VALUES:
        raise BeyondLimits(f"more than {MOST_VALUES:,} values")
    try:
        return _decoder(strict, finite, unique).decode(text)
    except RecursionError:
        raise BeyondLimits("nested too deeply") from None


@cache
def _decoder(strict: bool, finite: bool, unique: bool) -> json.JSONDecoder:
    constant, pairs = _refuse if finite else float, _unique if unique else None
    return json.JSONDecoder(parse_constant=constant, parse_int=_integer, strict=strict, object_pairs_hook=pairs)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _integer(word: str) -> int | float:
    return int(word) if len(word) <= MOST_DIGITS else float(word)


def toml_table(text: str) -> dict[str, Any]:
    """The content of a TOML text. Raises tomllib.TOMLDecodeError, a ValueError, or BeyondLimits."""
    for line, content in enumerate(text.splitlines(), 1):
        if content.count(".") > MOST_DOTS:
            raise BeyondLimits(f"more than {MOST_DOTS} dots in a line (at line {line}, column 1)")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (RecursionError, ValueError):  # a number of thousands of digits
        raise BeyondLimits("nested too deeply, or a number too long (at line 1, column 1)") from None


def require_short_yaml(text: str, most: int = MOST_YAML) -> None:
    """Raises BeyondLimits for more than ``most`` characters or too many brackets, which YAML's scanner is slow with."""
    if len(text) > most or text.count("[") + text.count("{") > MOST_BRACKETS:
        raise BeyondLimits(f"more than {most:,} characters or {MOST_BRACKETS:,} brackets")
    opened = 0
    for letter in text:
        opened += (letter in "[{") - (letter in "]}" and opened > 0)
        if opened > MOST_OPEN:
            raise BeyondLimits(f"more than {MOST_OPEN} brackets are open at once")


def yaml_scalars(text: str) -> Iterator[tuple[YamlPath, Any]]:
    """The scalars of a YAML text, each with its keys and indices and its node of ruamel.yaml.

    What an anchor marks belongs to several places: it is left out with its aliases, of which none is followed, and so
    is the value of a key that is no plain text. Raises BeyondLimits, or ruamel's YAMLError.
    """
    from ruamel.yaml import YAML

    require_short_yaml(text)
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(text)
    except RecursionError:
        raise BeyondLimits("nested too deeply") from None
    waiting: list[tuple[YamlPath, Any]] = [((), root)] if root else []
    while waiting:
        path, node = waiting.pop()
        if node.anchor:
            continue
        below: list[tuple[YamlPath, Any]] = []
        if node.id == "scalar":
            yield path, node
        elif node.id == "sequence":
            below = [((*path, index), entry) for index, entry in enumerate(node.value)]
        else:
            below = [((*path, key.value), entry) for key, entry in node.value if key.id == "scalar"]
        waiting += reversed(below)


def python_tree(text: str) -> ast.Module:
    """The syntax tree of a Python source. Raises SyntaxError, also for absurd nesting and NULs.

    Threads take turns: CPython 3.11 counts the depth of all of them together and may raise SystemError otherwise."""
    try:
        with _ONE_AT_A_TIME:
            return ast.parse(text)
    except (RecursionError, MemoryError, SystemError):
        raise SyntaxError("nested too deeply", ("", 1, 1, "")) from None
    except SyntaxError:
        raise
    except ValueError as error:  # a NUL, half a character
        raise SyntaxError(str(error), ("", 1, 1, "")) from None
