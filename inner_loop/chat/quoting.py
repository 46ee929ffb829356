"""Untrusted text on its way into a prompt: cleaned, limited in size, and fenced, so that it stays data."""

from __future__ import annotations

import hashlib
import re

from programs.common.text import shortened, without_escapes


def clean(text: str) -> str:
    """Without escape sequences and invisible characters (except line ends, tabs and blanks)."""
    plain = without_escapes(text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in plain if c.isprintable() or c in "\n\t\xa0")


def line(text: str, most: int) -> str:
    """One line of at most ``most`` characters."""
    return shortened(" ".join(clean(text).split()), most)


def sentences_of(text: str, most: int) -> str:
    """One line of at most ``most`` characters; a longer one ends after a whole sentence where one does late enough."""
    short = line(text, most)
    end = max(short.rfind(mark) for mark in (". ", "; ", ": "))
    return f"{short[: end + 1]} …" if short.endswith("…") and end > most // 2 else short


def tail(text: str, *, lines: int, characters: int) -> str:
    """The end of a text, cleaned."""
    last = [text_line.rstrip() for text_line in clean(text[-4 * characters :]).splitlines()[-lines:]]
    return "\n".join(last)[-characters:]


def within(text: str, tag: str) -> str:
    """A text for use between <tag> and </tag>, with those two tags disabled in it."""
    return _tag(tag).sub("‹", text)


def _tag(name: str) -> re.Pattern[str]:
    """The beginning of a tag, opening or closing, of any width."""
    return re.compile(rf"[<＜﹤](?=[\s/／]*{name}\b)", re.IGNORECASE)


def file_block(name: str, text: str) -> str:
    """A file between two tags, to the letter: where it has such a tag itself, both tags have a mark that it lacks."""
    mark = f' mark="{mark_of(text)}"' if _tag("file").search(text) else ""
    return f'<file name="{name}"{mark}>\n{text.removesuffix(chr(10))}\n</file{mark}>'


def mark_of(text: str) -> str:
    """12 letters that the text does not contain, the same each time."""
    mark = text
    while mark in text:
        mark = hashlib.sha256(mark.encode("utf-8", "replace")).hexdigest()[:12]
    return mark


def fenced(text: str, what: str = "") -> str:
    """A text between fences that are longer than any run of backticks in it."""
    fence = max(["``", *re.findall("`+", text)], key=len) + "`"
    return f"{fence}{what}\n{text}\n{fence}"
