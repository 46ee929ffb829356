"""Bytes to text and text to lines, without losing a byte on the way back."""

from __future__ import annotations

import re

from programs.errors import ProgramError

MAX_BYTES = 1 << 18  # five times the longest program seen in public repositories
MAX_LINES = 10_000  # ten times the longest; it takes a second to read so many statements
MAX_NESTED = 1_000  # square brackets within DEEP others that are still open; each is read once for each of these
DEEP = 4  # more than anybody nests on purpose
BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BRACKET = re.compile(r"[\[\]]|(?>\r\n|\r|\n)[ \t]*(?=\r|\n)")  # or the blank line that ends a paragraph


def decode(raw: bytes, file: str) -> str:
    """The text of a program file. Raises ProgramError for what is empty, too long, binary or not UTF-8."""
    if len(raw) > MAX_BYTES:
        raise ProgramError(
            f"{file}:1: the file is larger than {MAX_BYTES:,} bytes, the most that a program has",
            hint="is this a log or a data file?",
        )
    if (at := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise ProgramError(f"{file}:{line}: a NUL byte: a binary file", hint="a program is UTF-8 text")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ProgramError(
            f"{file}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from None
    if len(lines := _LINE.findall(text)) > MAX_LINES:
        raise ProgramError(
            f"{file}:{MAX_LINES + 1}: the file has {len(lines):,} lines; a program has {MAX_LINES:,} at most",
            hint="is this a log or a data file?",
        )
    if not text.strip(BOM + " \t\r\n\f\v"):
        raise ProgramError(f"{file}:1: the file is empty", hint="one sentence that names the goal will do")
    return text


def refuse_nested(text: str, file: str) -> None:
    """Raises ProgramError where brackets are nested more than a program may have it: they take long to read."""
    if text.count("[") <= MAX_NESTED:
        return
    depth = nested = 0
    for match in _BRACKET.finditer(text):
        bracket = match.group()
        depth = depth + 1 if bracket == "[" else max(depth - 1, 0) if bracket == "]" else 0
        nested += bracket == "[" and depth > DEEP
        if nested > MAX_NESTED:
            line = len(_LINE.findall(text[: match.end()]))
            what = f"more than {MAX_NESTED:,} square brackets stand within {DEEP} others that are still open"
            raise ProgramError(f"{file}:{line}: {what}", hint="close them, or put a blank line between them")


def split_lines(text: str) -> list[str]:
    """Lines with their ends, cut only where CommonMark cuts (LF, CRLF, CR); they join to ``text``."""
    return _LINE.findall(text)


def newline_of(text: str) -> str:
    """The line end that the text uses first; LF where it has none."""
    match = re.search(r"\r\n|\r|\n", text)
    return match.group() if match else "\n"


def is_blank(line: str) -> bool:
    return not line.strip()


def one_line(text: str) -> str:
    """Anybody's text to be shown within ours: one line, without characters that move a cursor, hide, or turn the order
    of others around (escape sequences lose their ESC)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def with_newline(text: str, newline: str) -> str:
    """``text`` (LF) with another line end."""
    return text if newline == "\n" else text.replace("\n", newline)


def clipped(text: str, most: int) -> str:
    """Whole lines up to so many bytes, and a line that says what was left out."""
    if len(text.encode("utf-8", "replace")) <= most:
        return text
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        size += len(line.encode("utf-8", "replace"))
        if size > most:
            return "".join(lines) + "(the rest is left out)\n"
        lines.append(line)
    return "".join(lines)
