"""Splits a program by its markdown structure: heading paths, items, paragraphs, table rows, code blocks.

markdown-it-py parses the text (CommonMark and tables); this file walks its tokens and records their lines.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from programs.front_matter import locate
from programs.text import BOM, is_blank, refuse_nested, split_lines

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

PATH = " > "
ARROW = "→"  # between the conditions of an idea and its edits
_ARROWS = (ARROW, "->")
_CODE = re.compile("`([^`\n]+)`")
_MOST_TITLE = 200  # characters of a title in a path, which is repeated in every statement below it


@dataclass(frozen=True)
class Heading:
    """A heading outside lists and quotes. Lines count from 0; its section ends at the next heading."""

    level: int
    title: str
    path: str
    start: int
    body: int  # first line below the heading
    end: int  # first line of the next heading, or the number of lines

    @property
    def name(self) -> str:
        """Its path; the program's title has none."""
        return self.path or self.title


@dataclass
class StatementBlock:
    """One statement with its lines [start, end), without blank lines at its end."""

    kind: str  # item, idea, paragraph, table-row, code
    heading: str
    start: int
    end: int
    parts: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    depth: int = 0  # of nested lists, for items

    @property
    def text(self) -> str:
        return "\n\n".join(self.parts)


@dataclass(frozen=True)
class Outline:
    lines: tuple[str, ...]
    body: int  # first line after the front matter
    headings: tuple[Heading, ...]
    blocks: tuple[StatementBlock, ...]


def is_ideas(title: str) -> bool:
    """Whether a heading is named Ideas, ignoring case, numbering and punctuation: ``3. IDEAS:``."""
    # the look-behind allows a match only at the start of a run of punctuation: otherwise long runs take quadratic time
    return re.sub(r"^[\W\d_]+|(?<![\W_])[\W_]+$", "", title).casefold() == "ideas"


@lru_cache(maxsize=256)  # called for every statement, with few different paths
def in_ideas(path: str) -> bool:
    return any(is_ideas(part) for part in path.split(PATH))


def outline(text: str, file: str = "program") -> Outline:
    """The structure of a program's text. Raises ProgramError for bad front matter and for too many nested brackets."""
    lines = split_lines(text)
    body = locate(lines, file).end
    # Blank lines replace the front matter, so that the parser's line numbers are those of the file.
    shown = "\n" * body + "".join(lines[body:])
    refuse_nested(shown, file)
    tokens = _tokens(shown if body else shown.removeprefix(BOM))
    headings = _headings(tokens, len(lines))
    blocks = list(_Walk(lines, headings).blocks(tokens))
    return Outline(tuple(lines), body, headings, tuple(b for b in blocks if b.text.strip()))


@lru_cache(maxsize=4)  # a program is parsed and then linted; the tokens are never modified
def _tokens(shown: str) -> tuple[Token, ...]:
    return tuple(_parser().parse(shown))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _headings(tokens: Sequence[Token], n_lines: int) -> tuple[Heading, ...]:
    entries = [
        (int(token.tag[1:]), one_line(tokens[i + 1].content), *_span(token))
        for i, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]
    # A single first-level heading at the top is the program's title and not part of any path: the same sentence must be
    # the same directive in programs with different titles.
    tops = [entry for entry in entries if entry[0] == 1]
    title = entries[0] if len(tops) == 1 and entries[0] == tops[0] and not is_ideas(entries[0][1]) else None
    stack: list[tuple[int, str]] = []
    out = []
    for i, (level, name, start, body) in enumerate(entries):
        while stack and stack[-1][0] >= level:
            stack.pop()
        if entries[i] is not title:
            stack.append((level, name[:_MOST_TITLE].replace(PATH, " ")))
        end = entries[i + 1][2] if i + 1 < len(entries) else n_lines
        out.append(Heading(level, name, PATH.join(part for _, part in stack), start, body, end))
    return tuple(out)


class _Walk:
    """One pass over the tokens; a block is created where its lines start and filled by the tokens that follow."""

    def __init__(self, lines: Sequence[str], headings: Sequence[Heading]) -> None:
        self.lines = lines
        self.headings = headings
        self.starts = {heading.start for heading in headings}
        self.items: list[StatementBlock] = []
        self.row: StatementBlock | None = None
        self.table = (0, 0)

    def blocks(self, tokens: Sequence[Token]) -> Iterator[StatementBlock]:
        path, upcoming = "", deque(self.headings)
        for token in tokens:
            while upcoming and token.map and token.map[0] >= upcoming[0].start:
                path = upcoming.popleft().path
            opened = self._open(token, path)
            if opened is not None:
                yield opened

    def _open(self, token: Token, path: str) -> StatementBlock | None:
        match token.type:
            case "list_item_open":
                kind = "idea" if in_ideas(path) else "item"
                self.items.append(self._block(kind, path, token, depth=len(self.items)))
                return self.items[-1]
            case "list_item_close":
                self.items.pop()
            case "table_open":
                self.table = _span(token)
            case "tr_open":
                self.row = self._block("table-row", path, token)
                return self.row
            case "tr_close":
                self.row = None
            case "inline":
                return self._inline(token, path)
            case "fence" | "code_block" | "html_block":
                return self._verbatim(token, path)
        return None

    def _inline(self, token: Token, path: str) -> StatementBlock | None:
        if token.level == 1 and self._is_heading(token):
            return None
        terms = _terms(token)
        text = one_line(token.content)
        if self.row is not None:
            cells = [text] if not self.row.parts else [self.row.parts.pop() + " | " + text]
            self.row.parts += cells
            self.row.terms += terms
            return None
        if self.items:
            self.items[-1].parts.append(text)
            self.items[-1].terms += terms
            return None
        block = self._block("paragraph", path, token)
        block.parts.append(text)
        block.terms += terms
        return block

    def _is_heading(self, token: Token) -> bool:
        return _span(token)[0] in self.starts

    def _verbatim(self, token: Token, path: str) -> StatementBlock | None:
        if token.type == "html_block" and self.items and not self.items[-1].parts:
            self.items[-1].parts.append(one_line(token.content))  # an item that begins with a tag is its text
            self.items[-1].terms += _CODE.findall(token.content)
            return None
        block = self._block("paragraph" if token.type == "html_block" else "code", path, token)
        info = token.info.strip() + "\n" if token.info.strip() else ""
        block.parts.append(info + token.content.rstrip("\n"))
        return block

    def _block(self, kind: str, path: str, token: Token, depth: int = 0) -> StatementBlock:
        start, end = _span(token)
        if kind == "table-row" and start == self.table[0]:
            end = self.table[1]  # the header's lines include the whole table, which is removed with it
        while end > start + 1 and is_blank(self.lines[end - 1].strip("> \t\r\n")):
            end -= 1
        return StatementBlock(kind, path, start, end, depth=depth)


def _terms(token: Token) -> list[str]:
    """The backticked words, with `ARROW` where the text between two of them has an arrow."""
    terms: list[str] = []
    for child in token.children or ():
        if child.type == "code_inline":
            terms.append(one_line(child.content))
        elif child.type == "text" and terms and any(arrow in child.content for arrow in _ARROWS):
            terms.append(ARROW)
    return terms[:-1] if terms and terms[-1] == ARROW else terms


def one_line(text: str) -> str:
    """The text of a paragraph on one line: line breaks and the blanks around them become one space."""
    return " ".join(line.strip(" \t") for line in text.split("\n")).strip()


def _span(token: Token) -> tuple[int, int]:
    assert token.map is not None, token.type  # block tokens of markdown-it have line numbers
    return token.map[0], token.map[1]
