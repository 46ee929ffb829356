"""The layout of list items: markers, indents, blank lines."""

from __future__ import annotations

import re

_MARKER = re.compile(r"^([ \t>]*)([-*+]|(\d{1,8})([.)]))([ \t]+)")


def list_marker(line: str, step: int = 0) -> str:
    """The marker at the start of a list item's line (``- ``, ``3. ``); ``step`` is added to a number."""
    match = _MARKER.match(line)
    if not match:
        return "- "
    number = f"{int(match[3]) + step}{match[4]}" if match[3] else match[2]
    return match[1] + number + match[5]


def item_lines(text: str, marker: str, newline: str) -> list[str]:
    """One list item as lines with line ends; all lines after the first are indented."""
    indent = " " * len(marker.expandtabs(4))
    first, *more = text.strip().split("\n")
    rest = [(indent + line.strip() if line.strip() else "") + newline for line in more]
    return [marker + first.strip() + newline, *rest]


def ends_with_newline(text: str, newline: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + newline


def spaced(text: str, newline: str) -> str:
    """The text followed by a line end and one blank line, so that a heading can follow."""
    text = ends_with_newline(text, newline)
    return text if text.endswith((newline * 2, "\n\n")) else text + newline
