"""Splits a program into sentences."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from programs.structure import StatementBlock, one_line, outline

_END = re.compile(r"""[.!?…]+["'”’)\]*_]*(?=\s)|[。！？]+[」』”’]*""")
# no sentence ends within these: code, and words between straight quotes
_WHOLE = re.compile(r'`[^`]*`|"(?:[^"\\]|\\.){0,400}"')
_SHORT = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|approx|ca|fig|eq|no|resp|incl|st|dr)\.$", re.IGNORECASE)
_NEXT = re.compile(r"\s*(\S)")
_FENCE = re.compile(r"[ \t>]*(?:```|~~~)")


def sentences_of(text: str) -> list[str]:
    """The sentences below the front matter, each on one line, including headings and lines of code, in their order.

    HTML comments are left out, because the rendered page does not show them. Raises ProgramError for bad front matter.
    """
    parsed = outline(text)
    placed = [(heading.start, [heading.title]) for heading in parsed.headings if heading.title]
    placed += [
        (block.start, list(_of_code(block, parsed.lines) if block.kind == "code" else _of_prose(block)))
        for block in parsed.blocks
    ]
    placed.sort(key=lambda entry: entry[0])
    return [sentence for _, sentences in placed for sentence in sentences]


def split(text: str) -> Iterator[str]:
    """The sentences of one paragraph. A part that starts in lower case belongs to the sentence before it."""
    text = one_line(text)
    whole = [match.span() for match in _WHOLE.finditer(text)]
    starts = [start for start, _ in whole]
    begin = 0
    for end in _END.finditer(text):
        before = bisect_right(starts, end.start()) - 1
        inside = before >= 0 and end.start() < whole[before][1]
        goes_on = _NEXT.match(text, end.end())
        if inside or (goes_on and goes_on[1].islower()):
            continue
        if _SHORT.search(text[max(begin, end.start() - 9) : end.start() + 1]):
            continue
        yield text[begin : end.end()].strip()
        begin = end.end()
    if text[begin:].strip():
        yield text[begin:].strip()


def _without_comments(text: str) -> str:
    """The text with each HTML comment replaced by a blank. A regular expression would take quadratic time."""
    out, at = [], 0
    while (begin := text.find("<!--", at)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        out.append(text[at:begin])
        at = end + 3
    return " ".join([*out, text[at:]])


def _of_code(block: StatementBlock, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[block.start : block.end]:
        if line.strip() and not _FENCE.match(line.strip()):
            yield line.strip()


def _of_prose(block: StatementBlock) -> Iterator[str]:
    for part in block.parts:
        if block.kind == "table-row":
            yield part
        else:
            yield from split(_without_comments(part))
