"""Locates the YAML front matter of a program, and the ``metaloop:`` block in it.

Metaloop reads only the lines of the top-level key ``metaloop:``. The rest may belong to another tool and need not be
valid YAML (it may contain template placeholders). It is never parsed or rewritten, so it cannot cause errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from programs.common.errors import ProgramError
from programs.common.text import BOM, is_blank, split_lines

_OUR_KEY = re.compile(r"""(["']?)metaloop\1[ \t]*:(?=[ \t\r\n]|$)""")
_ANY_KEY = re.compile(r"[^\s#:\-][^:]*:(?=[ \t\r\n]|$)")
_OPENS = re.compile(r"---[ \t]*[\r\n]*")
_CLOSES = re.compile(r"(?:---|\.\.\.)[ \t]*[\r\n]*")


@dataclass(frozen=True)
class FrontMatter:
    """Line numbers count from 0; ranges exclude their end."""

    end: int  # number of lines of the front matter, including delimiters; 0: there is none
    block: tuple[int, int] | None = None  # the lines of the metaloop: block


def locate(lines: Sequence[str], file: str = "program") -> FrontMatter:
    """The front matter of a text. Raises ProgramError if it is not closed or has two ``metaloop:`` blocks."""
    if not lines or not _OPENS.fullmatch(lines[0].removeprefix(BOM)):
        return FrontMatter(0)
    close = next((i for i, line in enumerate(lines) if i and _CLOSES.fullmatch(line)), 0)
    head = close or next((i for i, line in enumerate(lines) if i and is_blank(line)), len(lines))
    ours = [i for i in range(1, head) if _OUR_KEY.match(lines[i])]
    if ours and not close:
        raise ProgramError(f"{file}:1: the front matter is not closed", hint="end it with a line ---")
    if len(ours) > 1:
        raise ProgramError(f"{file}:{ours[1] + 1}: a second metaloop: block", hint="merge it into the first")
    if ours:
        return FrontMatter(close + 1, (ours[0], _end_of_block(lines, ours[0], close)))
    # other lines of dashes are thematic breaks
    return FrontMatter(close + 1 if close and _looks_like_yaml(lines[1:close]) else 0)


def without_front_matter(text: str) -> str:
    """Raises ProgramError, as `locate`."""
    lines = split_lines(text)
    return "".join(lines[locate(lines).end :])


def _looks_like_yaml(lines: Sequence[str]) -> bool:
    first = next((line for line in lines if not is_blank(line) and not line.startswith("#")), None)
    return _ANY_KEY.match(first) is not None if first else all(map(is_blank, lines))


def _end_of_block(lines: Sequence[str], start: int, close: int) -> int:
    """The line after the last one indented below the key metaloop:, without comments that belong to the next key."""
    end = start + 1
    for i in range(start + 1, close):
        if lines[i].startswith((" ", "\t", "}", "]")) and not is_blank(lines[i]):  # } ends a mapping over several lines
            end = i + 1
        elif not is_blank(lines[i]) and not lines[i].startswith("#"):
            break
    return end
