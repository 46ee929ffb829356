"""Untrusted text on its way into a prompt: cleaned, limited in size, and fenced, so that it stays data."""

from __future__ import annotations

import re

from programs.text import shortened

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")


def clean(text: str) -> str:
    """Without escape sequences and invisible characters (except line ends, tabs and blanks)."""
    plain = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
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
    last = [one.rstrip() for one in clean(text[-4 * characters :]).splitlines()[-lines:]]
    return "\n".join(last)[-characters:]


def within(text: str, tag: str) -> str:
    """A text for use between <tag> and </tag>, with those two tags disabled in it."""
    return re.sub(rf"<(?=\s*/?\s*{tag}\b)", "‹", text, flags=re.IGNORECASE)


def fenced(text: str, what: str = "") -> str:
    """A text between fences that are longer than any run of backticks in it."""
    fence = max(["``", *re.findall("`+", text)], key=len) + "`"
    return f"{fence}{what}\n{text}\n{fence}"
