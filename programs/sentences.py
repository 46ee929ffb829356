"""Splits a program into numbered sentences with their line numbers, so that a charter field can cite its sentence."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from programs.structure import StatementBlock, one_line, outline

_END = re.compile(r"""[.!?…]+["'”’)\]*_]*(?=\s)|[。！？]+[」』”’]*""")
# no sentence ends within these: code, and words between straight quotes
_WHOLE = re.compile(r'`[^`]*`|"(?:[^"\\]|\\.){0,400}"')
_SHORT = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|approx|ca|fig|eq|no|resp|incl|st|dr)\.$", re.IGNORECASE)
_NEXT = re.compile(r"\s*(\S)")
_FENCE = re.compile(r"[ \t>]*(?:```|~~~)")
_KEY = 40  # characters used to locate a sentence in its lines


@dataclass(frozen=True)
class Sentence:
    """``number`` and ``line`` count from 1; ``text`` is the sentence on one line."""

    number: int
    line: int
    text: str


def sentences_of(text: str, file: str = "program") -> tuple[Sentence, ...]:
    """The sentences below the front matter, including headings and lines of code, in the order of their lines.

    HTML comments are left out, because the rendered page does not show them. Raises ProgramError for bad front matter.
    """
    parsed = outline(text, file)
    placed = [(heading.start, heading.title) for heading in parsed.headings if heading.title]
    for block in parsed.blocks:
        placed += _of_code(block, parsed.lines) if block.kind == "code" else _of_prose(block, parsed.lines)
    placed.sort(key=lambda entry: entry[0])
    return tuple(Sentence(number, line + 1, said) for number, (line, said) in enumerate(placed, 1))


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


def _of_code(block: StatementBlock, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    for number in range(block.start, block.end):
        said = lines[number].strip()
        if said and not _FENCE.match(said):
            yield number, said


def _of_prose(block: StatementBlock, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(line from 0, sentence). The sentence's first characters locate its line, ignoring blanks and quote marks."""
    starts, squeezed = [0], ""
    for line in lines[block.start : block.end]:
        squeezed += "".join(line.lstrip("> \t").split())
        starts.append(len(squeezed))
    at = 0
    for part in block.parts:
        for said in [part] if block.kind == "table-row" else split(_without_comments(part)):
            key = "".join(said.split())[:_KEY]
            at = max(at, squeezed.find(key, at))
            yield min(block.start + bisect_right(starts, at) - 1, block.end - 1), said
            at += len(key)
