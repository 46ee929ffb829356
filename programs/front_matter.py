"""Locates the YAML front matter of a program, and the ``metaloop:`` block in it.

Metaloop reads only the lines of the top-level key ``metaloop:``. The rest may belong to another tool and need not be
valid YAML (it may contain template placeholders). It is never parsed or rewritten, so it cannot cause errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from programs.errors import ProgramError
from programs.text import BOM, is_blank

OUR_KEY = re.compile(r"""^(["']?)metaloop\1[ \t]*:(?=[ \t\r\n]|$)""")
_ANY_KEY = re.compile(r"""^[^\s#:\-][^:]*:(?=[ \t\r\n]|$)""")
_OPENS = re.compile(r"^---[ \t]*$")
_CLOSES = re.compile(r"^(?:---|\.\.\.)[ \t]*$")


@dataclass(frozen=True)
class FrontMatter:
    """Line numbers count from 0; ranges exclude their end."""

    end: int  # number of lines of the front matter, including delimiters; 0: there is none
    block: tuple[int, int] | None = None  # the lines of the metaloop: block


def locate(lines: Sequence[str], file: str = "program") -> FrontMatter:
    """The front matter of a text. Raises ProgramError if it is not closed or has two ``metaloop:`` blocks."""
    if not lines or not _OPENS.match(_bare(lines[0].removeprefix(BOM))):
        return FrontMatter(0)
    close = next((i for i, line in enumerate(lines) if i and _CLOSES.match(_bare(line))), None)
    if close is None:
        return _unclosed(lines, file)
    ours = [i for i in range(1, close) if OUR_KEY.match(lines[i])]
    if not ours and not _looks_like_yaml(lines[1:close]):
        return FrontMatter(0)  # a text between two thematic breaks
    if len(ours) > 1:
        raise ProgramError(f"{file}:{ours[1] + 1}: a second metaloop: block", hint="merge it into the first")
    return FrontMatter(close + 1, _block(lines, ours[0], close) if ours else None)


def _unclosed(lines: Sequence[str], file: str) -> FrontMatter:
    # A first line of dashes without a second one is a thematic break, unless the key metaloop: follows.
    head = next((i for i, line in enumerate(lines) if i and is_blank(line)), len(lines))
    if any(OUR_KEY.match(line) for line in lines[1:head]):
        raise ProgramError(f"{file}:1: the front matter is not closed", hint="end it with a line ---")
    return FrontMatter(0)


def _looks_like_yaml(lines: Sequence[str]) -> bool:
    first = next((line for line in lines if not is_blank(line) and not line.startswith("#")), None)
    return _ANY_KEY.match(first) is not None if first else all(is_blank(line) for line in lines)


def _block(lines: Sequence[str], start: int, close: int) -> tuple[int, int]:
    """From the key metaloop: to the last line indented below it, without comments that belong to the next key."""
    end = start + 1
    for i in range(start + 1, close):
        if lines[i][0] in " \t" and not is_blank(lines[i]):
            end = i + 1
        elif not is_blank(lines[i]) and not lines[i].startswith(("#", "}", "]")):
            break
        elif lines[i].startswith(("}", "]")):  # the end of a flow mapping over several lines
            end = i + 1
    return start, end


def _bare(line: str) -> str:
    return line.rstrip("\r\n")
