"""Inputs that nobody means well with: mutations of good ones, the same for the same random numbers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

MOST_BYTES = 1 << 20
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(rb"\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[A-Za-z_][A-Za-z0-9_.-]*")
_NUMBERS = (
    *(b"0", b"-0", b"-1", b"007", b"1_0", b"1__0", b"0x10", b"0o7", b"true", b"null", b"nan", b"inf", b"-inf"),
    *(b"1e308", b"1e999", b"-1e999", b"1e-400", b"1.7976931348623157e308", b"1" * 5000, b"0." + b"3" * 5000),
    *(b"2147483648", b"4294967296", b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616"),
)
_BRACKETS = (
    *(b"[", b"{", b"(", b"[[", b'{"a":', b"a = [", b"a.", b"<!--"),
    *(b"> ", b"- ", b"* ", b"#", b"!", b"`", b"**", b"[a]("),
)
_LAUGHS = b"".join(  # a list of lists of lists: eight times as long with every line, if anybody writes it out
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 8) if name > 97 else b"x")
    for name in range(97, 104)
)
_TEXTS = (
    *(
        b"---\n",
        b"'''",
        b'"""',
        b"```\n",
        b"\r",
        b"\r\n",
        b"\t",
        b"\\",
        b"=",
        b":",
        b"#",
        b"/",
        b"",
        b"%s%n",
        b"{{ x }}",
    ),
    *(b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\x1b[31m", b"\xe2\x80\xae", b"\\u0000", b"\\ud800", b"${HOME}"),
    *(b"../../../etc/passwd", b"/dev/zero", b"metaloop:", b"!!python/object/new:os.system [true]"),
    *(b"[edits]\n", b"[[edits.x.replace]]\n", b"&a [*a]", b"<<: *a", _LAUGHS),
)
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        -0.0,
        1e308,
        1 << 63,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x" * 100_000,
        "\0",
        "\ud800",
    ),
    *([], {}, [[]], {"": {}}, ["search"], "search", "confirmation", "ok", "ä\x1b[31m", "../../x", [{}] * 1000),
)
_NOT_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x28", b"\x80")

Operator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Start and end of some part, mostly a short one."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + int(2 ** rng.uniform(0, 12)))


def _insert(rng: random.Random, data: bytes, piece: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + piece + data[at:]


def _replace(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], piece: bytes) -> bytes:
    """One match of ``pattern`` replaced, or the piece put in anywhere."""
    matches = list(pattern.finditer(data))
    if not matches:
        return _insert(rng, data, piece)
    match = rng.choice(matches)
    return data[: match.start()] + piece + data[match.end() :]


def flip_bits(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def remove(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def repeat(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A block many times over."""
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 10, 300)) + data[end:]


def splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The beginning of one input and the end of another."""
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def number(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _replace(rng, data, _NUMBER, rng.choice(_NUMBERS))


def word(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A name or a quoted text replaced by another of the same or another input."""
    words = _WORD.findall(rng.choice(others)) or [b"x"]
    return _replace(rng, data, _WORD, rng.choice(words))


def text(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _insert(rng, data, rng.choice(_TEXTS))


def nest(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Brackets, quotes or markers within each other, far deeper than a parser's recursion goes."""
    piece = rng.choice(_BRACKETS) * int(2 ** rng.uniform(3, 15))
    return _replace(rng, data, _WORD, piece) if rng.random() < 0.5 else _insert(rng, data, piece)


def zeros(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _insert(rng, data, b"\0" * rng.choice((1, 1, 4, 4096)))


def not_utf8(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return _insert(rng, data, rng.choice(_NOT_UTF8))


def long_line(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    piece = rng.choice((b"a", b" ", b"a ", b"\t", b"a-", b"`a", b"|", b"\\"))
    return _insert(rng, data, piece * int(2 ** rng.uniform(6, 17)))


def lines(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Lines removed, doubled or moved."""
    rows = data.splitlines(keepends=True)
    if not rows:
        return data
    row = rng.choice(rows)
    if rng.random() < 0.7:
        rows.remove(row)
    if rng.random() < 0.7:
        rows.insert(rng.randrange(len(rows) + 1), row)
    return b"".join(rows)


OPERATORS: tuple[Operator, ...] = (
    flip_bits, truncate, remove, repeat, splice, number, word, text, nest, zeros, not_utf8, long_line, lines,
)  # fmt: skip


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One input: in twenty, one random bytes, one a good one cut off, the others good ones under 1 to 4 operators."""
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(int(2 ** rng.uniform(0, 14)))
    data = rng.choice(corpus)
    if kind < 0.1:
        return truncate(rng, data, corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(OPERATORS)(rng, data, corpus)[:MOST_BYTES]
    return data


def mutate_json(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Half of them still JSON, with one to three values replaced, removed or added; the others as `mutate` has them."""
    if rng.random() < 0.5:
        return mutate(rng, corpus)
    data = json.loads(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _altered(rng, data)
    return json.dumps(data).encode()


def _altered(rng: random.Random, data: Any) -> Any:
    """The value with something in it changed, however deep."""
    if rng.random() < 0.1 or not isinstance(data, dict | list) or not data:
        return rng.choice(_VALUES)
    if isinstance(data, list):
        at = rng.randrange(len(data))
        return [*data[:at], _altered(rng, data[at]), *data[at + 1 :]]
    key = rng.choice(sorted(data))
    if rng.random() < 0.2:
        return {name: value for name, value in data.items() if name != key}
    if rng.random() < 0.1:
        return data | {rng.choice(("extra", "kind", "__class__")): rng.choice(_VALUES)}
    return data | {key: _altered(rng, data[key])}
