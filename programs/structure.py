"""Splits a program by its markdown structure: heading paths, items, paragraphs, table rows, code blocks.

markdown-it-py parses the text (CommonMark and tables); this file walks its tokens and records their lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from programs.common.text import BOM, is_blank, refuse_nested, split_lines
from programs.front_matter import locate

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
        return (" | " if self.kind == "table-row" else "\n\n").join(self.parts)

    def add(self, part: str, terms: Iterable[str]) -> None:
        self.parts.append(part)
        self.terms += terms


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
    visible = "\n" * body + "".join(lines[body:])
    refuse_nested(visible, file)
    tokens = _tokens(visible if body else visible.removeprefix(BOM))
    headings = _headings(tokens, len(lines))
    blocks = list(_blocks(lines, headings, tokens))  # each is filled after it is yielded
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
        (int(token.tag[1:]), join_lines(tokens[i + 1].content), *_span(token))
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


def _blocks(lines: Sequence[str], headings: Sequence[Heading], tokens: Sequence[Token]) -> Iterator[StatementBlock]:
    """One pass over the tokens; a block is created where its lines start and filled by the tokens that follow."""
    path, is_title, table = "", False, (0, 0)
    upcoming = iter(headings)
    opened: list[StatementBlock] = []  # items and rows
    for token in tokens:
        block = None
        match token.type:
            case "heading_open" if token.level == 0:
                path, is_title = next(upcoming).path, True
            case "table_open":
                table = _span(token)
            case "list_item_open" | "tr_open":
                kind = "table-row" if token.type == "tr_open" else "idea" if in_ideas(path) else "item"
                start, end = _span(token)
                if kind == "table-row" and start == table[0]:
                    end = table[1]  # the header's lines include the whole table, which is removed with it
                opened.append(block := _block(kind, path, lines, start, end, len(opened)))
            case "list_item_close" | "tr_close":
                opened.pop()
            case "inline" if is_title:
                is_title = False
            case "inline":
                block = None if opened else _block("paragraph", path, lines, *_span(token))
                (block or opened[-1]).add(join_lines(token.content), _terms(token))
            case "html_block" if opened and not opened[-1].parts:  # an item that begins with a tag is its text
                opened[-1].add(join_lines(token.content), _CODE.findall(token.content))
            case "fence" | "code_block" | "html_block":
                kind = "paragraph" if token.type == "html_block" else "code"
                block = _block(kind, path, lines, *_span(token))
                block.add("\n".join(filter(None, (token.info.strip(), token.content.rstrip("\n")))), ())
        if block:
            yield block


def _block(kind: str, path: str, lines: Sequence[str], start: int, end: int, depth: int = 0) -> StatementBlock:
    while end > start + 1 and is_blank(lines[end - 1].strip("> \t\r\n")):
        end -= 1
    return StatementBlock(kind, path, start, end, depth=depth)


def _terms(token: Token) -> list[str]:
    """The backticked words, with `ARROW` where the text between two of them has an arrow."""
    terms: list[str] = []
    for child in token.children or ():
        if child.type == "code_inline":
            terms.append(join_lines(child.content))
        elif child.type == "text" and terms and any(arrow in child.content for arrow in _ARROWS):
            terms.append(ARROW)
    return terms[:-1] if terms and terms[-1] == ARROW else terms


def join_lines(text: str) -> str:
    """The text of a paragraph on one line: line breaks and the blanks around them become one space."""
    return " ".join(line.strip(" \t") for line in text.split("\n")).strip()


def _span(token: Token) -> tuple[int, int]:
    assert token.map is not None, token.type  # block tokens of markdown-it have line numbers
    return token.map[0], token.map[1]
