"""Converts bytes to text and text to lines so that the conversion can be reversed exactly; wraps for a terminal."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from programs.common.errors import ProgramError

MAX_BYTES = 1 << 18  # five times the longest program seen in public repositories
MAX_LINES = 10_000  # ten times the longest; parsing that many statements takes a second
MAX_NESTED = 1_000  # square brackets within DEEP open ones; the parser reads each once per open bracket
DEEP = 4  # deeper nesting is not intended
MOST_NAMED = 4  # of a list
BOM = "\ufeff"
_FIGURES = re.compile(r"[+-][\d.,e +\-to\[\]]*")  # a number, or one with its interval
FORMULA = "=+-@＝＋－＠"  # first letters of a formula
_LATER_CELL = re.compile(
    r"(?<=[,;|\t])(?=[=@＝＋－＠]|[+-](?![\d.e]+(?:[\s,;)\]]|$)))"
)  # where another locale separates
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BRACKET = re.compile(r"[\[\]]|(?>\r\n|\r|\n)[ \t]*(?=\r|\n)")  # a bracket, or the blank line that ends a paragraph

_ESCAPES = re.compile(  # colours and moves; titles, links and other strings; sequences of two characters
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
)


def word_list(text: str) -> tuple[str, ...]:
    """The words of a text, for long lists of names in code."""
    return tuple(text.split())


def no_formula(text: str) -> str:
    """A cell of a table: what a spreadsheet would take for a formula, figures apart, begins with an apostrophe."""
    if _FIGURES.fullmatch(text):
        return text
    text = _LATER_CELL.sub("'", text)
    return f"'{text}" if text and text[0] in FORMULA else text


def decode(raw: bytes, file: str) -> str:
    """The text of a program file. Raises ProgramError if it is empty, too long, binary or not UTF-8."""
    if len(raw) > MAX_BYTES:
        raise ProgramError(
            f"{file}:1: the file is larger than {MAX_BYTES:,} bytes, the maximum for a program",
            hint="is this a log or a data file?",
        )
    if (at := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise ProgramError(f"{file}:{line}: the file is binary (NUL byte)", hint="a program is UTF-8 text")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ProgramError(
            f"{file}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from None
    if len(lines := _LINE.findall(text)) > MAX_LINES:
        raise ProgramError(
            f"{file}:{MAX_LINES + 1}: the file has {len(lines):,} lines; the maximum is {MAX_LINES:,}",
            hint="is this a log or a data file?",
        )
    if not text.strip(BOM + " \t\r\n\f\v"):
        raise ProgramError(f"{file}:1: the file is empty", hint="write at least one sentence with the goal")
    return text


def refuse_nested(text: str, file: str) -> None:
    """Raises ProgramError for too many nested square brackets, which take long to parse."""
    if text.count("[") <= MAX_NESTED:
        return
    depth = nested = 0
    for match in _BRACKET.finditer(text):
        bracket = match.group()
        depth = depth + 1 if bracket == "[" else max(depth - 1, 0) if bracket == "]" else 0
        nested += bracket == "[" and depth > DEEP
        if nested > MAX_NESTED:
            line = len(_LINE.findall(text[: match.end()]))
            what = f"more than {MAX_NESTED:,} square brackets are nested more than {DEEP} deep"
            raise ProgramError(f"{file}:{line}: {what}", hint="close the brackets, or separate them by a blank line")


def split_lines(text: str) -> list[str]:
    """Lines with their line ends, split as CommonMark does (LF, CRLF, CR); joined they give ``text``."""
    return _LINE.findall(text)


def newline_of(text: str) -> str:
    """The first line end in the text; LF if it has none."""
    match = re.search(r"\r\n|\r|\n", text)
    return match.group() if match else "\n"


def is_blank(line: str) -> bool:
    return not line.strip()


def printable(text: str, keep: str = "") -> str:
    """Untrusted text for a terminal, a table or a commit: characters (except ``keep``) that move the cursor, are
    invisible or change the writing direction become blanks (escape sequences lose their ESC)."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else " " for c in text)


def without_escapes(text: str) -> str:
    """Without the escape sequences of terminals: colours, moves of the cursor, titles, links."""
    return _ESCAPES.sub("", text)


def terminal_text(text: str) -> str:
    """Output of a program as a terminal shows it in the end: without escape sequences. After a carriage return a line
    starts anew, and a backspace takes a character back."""
    text = without_escapes(text.replace("\r\n", "\n"))
    return "\n".join(map(_last_state, text.split("\n"))) if "\r" in text or "\b" in text else text


def _last_state(line: str) -> str:
    kept: list[str] = []
    for character in next((part for part in reversed(line.split("\r")) if part), ""):
        if character == "\b":
            del kept[-1:]
        else:
            kept.append(character)
    return "".join(kept)


def escaped(text: str) -> str:
    """The text with JSON's escapes for the characters that `printable` replaces: the same value, in JSON."""
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def one_line(text: str, most: int = sys.maxsize) -> str:
    """Untrusted text, `printable` and on one line of at most ``most`` characters."""
    return shortened(" ".join(printable(text).split()), most)


def shortened(text: str, most: int) -> str:
    """The text; one of more than ``most`` characters ends with an ellipsis in the place of the last of them."""
    return text if len(text) <= most else text[: most - 1] + "…"


def clipped(text: str, most: int) -> str:
    """As many whole lines as fit into ``most`` bytes, then a line that says that the rest was left out."""
    out, size = "", 0
    for line in text.splitlines(keepends=True):
        size += len(line.encode("utf-8", "replace"))
        if size > most:
            return out + "(the rest is left out)\n"
        out += line
    return text


def wrapped(text: str) -> str:
    """``text`` wrapped at words where stderr is a terminal, else unchanged."""
    return filled(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text


def filled(text: str, width: int) -> str:
    """``text``, lines that are longer than ``width`` wrapped at words and indented as they were."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if len(line) > width:
            indent = " " * (len(line) - len(line.lstrip(" ")))
            most = max(width, 20)
            lines[at] = textwrap.fill(
                line, most, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)


def cell(text: object) -> str:
    """Untrusted text for markdown: one line, nothing that ends a cell of a table or begins markup."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+!|~" else c for c in one_line(str(text)))


def listed(items: Iterable[str], most: int = MOST_NAMED) -> str:
    """``a, b and c``; ``a, b, c, d and 3 more``."""
    texts = list(items)
    if len(texts) > most:
        return f"{', '.join(texts[:most])} and {len(texts) - most} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def in_turns(names: Sequence[str]) -> str:
    """``a and b in turns``, as in a night; of one program its name, of many their number."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} programs in turns"
    return f"{listed(names)} in turns" if len(names) > 1 else names[0]
