"""Edits of a program's text. Each function returns new text and leaves all other parts byte for byte unchanged.

Markdown has pitfalls: two paragraphs merge if the block between them is removed, and a list absorbs the line after it.
Each result is therefore parsed again, and all other statements must be the same as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from programs.charter_edit import charter_fields, set_charter, take_charter, unset_charter
from programs.directives import CHARTER, ORDER
from programs.errors import NotFound, ProgramError
from programs.ideas_edit import append_ideas, reorder_ideas, replace_ideas
from programs.layout import ends_with_newline, item_lines, list_marker, spaced
from programs.patches import ProgramPatch, missing, named_in
from programs.program import Program
from programs.structure import Heading, Outline, StatementBlock, outline
from programs.text import is_blank, newline_of, split_lines, with_newline

__all__ = [
    "ProgramSection",
    "add_directive",
    "append_ideas",
    "charter_fields",
    "remove_directive",
    "reorder_ideas",
    "replace_ideas",
    "replace_section",
    "sections",
    "set_charter",
    "take_charter",
    "unset_charter",
    "with_missing_patches",
    "without",
    "without_patch",
]

Statement = tuple[str, str, str]  # heading, kind, text


@dataclass(frozen=True)
class ProgramSection:
    """A heading with the text below it up to the next heading of any level; all texts together are the body.

    ``heading`` is its path, for the program's title the title, and "" (level 0) for text before the first heading.
    """

    heading: str
    level: int
    text: str


def sections(text: str) -> list[ProgramSection]:
    """The sections of a text, in order, without the front matter."""
    parsed = outline(text)
    first = parsed.headings[0].start if parsed.headings else len(parsed.lines)
    out = [ProgramSection("", 0, "".join(parsed.lines[parsed.body : first]))] if first > parsed.body else []
    return out + [
        ProgramSection(h.path or h.title, h.level, "".join(parsed.lines[h.start : h.end])) for h in parsed.headings
    ]


def replace_section(text: str, heading: str, new_text: str) -> str:
    """The text with one section replaced, including its heading line; "" removes it. Raises NotFound."""
    parsed = outline(text)
    start, end = _span_of_section(parsed, heading)
    if text.count("\n") == text.count("\r\n"):
        new_text = with_newline(new_text.replace("\r\n", "\n"), newline_of(text))
    if new_text and end < len(parsed.lines):
        new_text = ends_with_newline(new_text, newline_of(text))
    return "".join([*parsed.lines[:start], new_text, *parsed.lines[end:]])


def with_missing_patches(text: str, near: Iterable[ProgramPatch]) -> str:
    """The text with a section Patches at its end for patches that its ideas name and only other programs define."""
    program = Program.parse(text)
    patches = missing([term for idea in program.ideas for term in idea.terms], program.patches, near)
    if not patches:
        return text
    newline = newline_of(text)
    blocks = with_newline("## Patches\n\n" + "\n".join(patch.text for patch in patches), newline)
    return spaced(text, newline) + blocks


def without_patch(text: str, patch: ProgramPatch) -> str:
    """The text without one of its patches and the ideas that name it. Raises ProgramError."""
    parsed = outline(text)
    end = next(block.end for block in parsed.blocks if block.start == patch.line - 1)
    kept = "".join([*parsed.lines[: patch.line - 1], *parsed.lines[end:]])
    gone = set() if patch.problem else {patch.edit_name}
    ideas = Program.parse(kept).ideas
    name = patch.name.lower()
    rest = [i.text for i in ideas if not any(term in gone or named_in(term) == name for term in i.terms)]
    return kept if len(rest) == len(ideas) else replace_ideas(kept, rest)


def remove_directive(text: str, directive_id: str) -> str:
    """The text without one directive. Removing an item removes its nested items, removing a table header the table.

    Raises NotFound for an unknown id, ProgramError if nothing would be left.
    """
    program = Program.parse(text)
    directive = next((d for d in program.directives if d.directive_id == directive_id), None)
    if directive is None:
        raise NotFound(f"no directive {directive_id} in this program", ids=(directive_id,))
    if directive.kind == CHARTER:
        return unset_charter(text, directive.text.partition(":")[0])
    if directive.kind == ORDER:
        raise ProgramError(f"program:{directive.line}: an order cannot be removed; remove or reorder the ideas instead")
    parsed = outline(text)
    placed = [d for d in program.directives if d.kind not in (CHARTER, ORDER)]
    return _without_block(text, parsed, parsed.blocks[placed.index(directive)], "program")


def without(program: Program, directive_id: str) -> Program:
    """The program without one directive of any of its files. Raises NotFound, ProgramError."""
    directive = next((d for d in program.directives if d.directive_id == directive_id), None)
    if directive is None or not directive.file:
        return program.with_text(remove_directive(program.text, directive_id))
    text = dict(program.files)[directive.file].decode("utf-8")
    parsed = outline(text, directive.file)
    block = parsed.blocks[[d for d in program.directives if d.file == directive.file].index(directive)]
    return program.with_files({directive.file: _without_block(text, parsed, block, directive.file)})


def _without_block(text: str, parsed: Outline, block: StatementBlock, file: str) -> str:
    kept = [_statement(b) for b in parsed.blocks if not block.start <= b.start < block.end]
    for lines in _without(parsed, block.start, block.end, newline_of(text)):
        if [_statement(b) for b in outline("".join(lines)).blocks] == kept and any(map(str.strip, lines)):
            return "".join(lines)
    raise ProgramError(f"{file}:{block.start + 1}: removing this statement would change its neighbours")


def add_directive(text: str, heading: str, item_text: str) -> str:
    """The text with one more list item at the end of a section (path or name; created if missing).

    Raises ProgramError if markdown would not parse it as a single item.
    """
    parsed = outline(text)
    try:
        start, end = _span_of_section(parsed, heading)
    except NotFound:
        newline = newline_of(text)
        text = spaced(text, newline) + f"## {heading}{newline}{newline}"
        start, end = len(split_lines(text)), len(split_lines(text))
    lines = split_lines(text)
    while end > start and is_blank(lines[end - 1]):
        end -= 1
    for addition in _additions(parsed, lines, start, end, item_text, newline_of(text)):
        changed = "".join([*_closed(lines[:end], newline_of(text)), *addition, *lines[end:]])
        if _gained(parsed.blocks, outline(changed).blocks):
            return changed
    raise ProgramError(f"program:{end}: cannot add a list item here", hint="check for an unclosed code fence")


def _statement(block: StatementBlock) -> Statement:
    return block.heading, block.kind, block.text


def _span_of_section(parsed: Outline, heading: str) -> tuple[int, int]:
    """Lines of the first section with that path, otherwise with that title."""
    wanted = heading.casefold()
    if not wanted:
        return parsed.body, parsed.headings[0].start if parsed.headings else len(parsed.lines)
    for name_of in (_path, _title):
        for h in parsed.headings:
            if name_of(h).casefold() == wanted:
                return h.start, h.end
    raise NotFound(f"no section {heading} in this program")


def _path(heading: Heading) -> str:
    return heading.path or heading.title


def _title(heading: Heading) -> str:
    return heading.title


def _without(parsed: Outline, start: int, end: int, newline: str) -> Iterable[list[str]]:
    """Ways to remove lines: with the surplus blank lines, without them, and leaving a blank line instead."""
    lines = list(parsed.lines)
    last, first = end, start
    if start == parsed.body or is_blank(lines[start - 1]):
        while last < len(lines) and is_blank(lines[last]):
            last += 1
        while last == len(lines) and first > parsed.body and is_blank(lines[first - 1]):
            first -= 1
    yield lines[:first] + lines[last:]
    yield lines[:start] + lines[end:]
    yield [*lines[:start], newline, *lines[end:]]


def _additions(
    parsed: Outline, lines: Sequence[str], start: int, end: int, item_text: str, newline: str
) -> Iterable[list[str]]:
    """Ways to write the item after line ``end``: continuing the list there, or starting a new one."""
    tail = [b for b in parsed.blocks if start <= b.start < end and b.kind in ("item", "idea") and not b.depth]
    if tail and tail[-1].end == end:
        loose = len(tail) > 1 and is_blank(lines[tail[-1].start - 1])
        marker = list_marker(lines[tail[-1].start], step=1)
        yield [newline] * loose + item_lines(item_text, marker, newline)
    gap = [newline] if end and not is_blank(lines[end - 1]) else []
    after = [newline] if end < len(lines) and not is_blank(lines[end]) else []
    for marker in ("- ", "* "):
        yield [*gap, *item_lines(item_text, marker, newline), *after]


def _closed(lines: Sequence[str], newline: str) -> list[str]:
    return [*lines[:-1], ends_with_newline(lines[-1], newline)] if lines else []


def _gained(old: Sequence[StatementBlock], new: Sequence[StatementBlock]) -> bool:
    """Whether all old statements are there, plus exactly one item."""
    more = Counter(map(_statement, new)) - Counter(map(_statement, old))
    return len(new) == len(old) + 1 and [kind for _, kind, _ in more] in (["item"], ["idea"])
