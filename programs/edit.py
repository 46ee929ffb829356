"""Edits of a program's statements. Each function returns new text and leaves all other parts byte for byte unchanged.

Markdown has pitfalls: two paragraphs merge if the block between them is removed, and a list absorbs the line after it.
Each result is therefore parsed again, and all other statements must be the same as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest

from programs.charter import FIELDS
from programs.common.errors import NotFound, ProgramError
from programs.common.text import is_blank, newline_of, one_line
from programs.directives import CHARTER, ORDER
from programs.patches import ProgramPatch, named_in
from programs.program import Program
from programs.settings import set_charter, settings_of, unset_charter
from programs.structure import Outline, StatementBlock, in_ideas, outline

SETTINGS_HEADING = "How experiments are conducted"
_SETTINGS_HOLD = "Where this program says otherwise elsewhere, these settings hold:"
_MARKER = re.compile(r"^([ \t>]*)([-*+]|(\d{1,8})([.)]))([ \t]+)")


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
    return out + [ProgramSection(h.name, h.level, "".join(parsed.lines[h.start : h.end])) for h in parsed.headings]


def replace_section(text: str, heading: str, new_text: str) -> str:
    """The text with its first section of that path, otherwise of that title, replaced, including its heading line; ""
    removes it. The heading "" is the text before the first one. Raises NotFound."""
    parsed, wanted = outline(text), heading.casefold()
    start, end = parsed.body, parsed.headings[0].start if parsed.headings else len(parsed.lines)
    if wanted:
        headings = [h for h in parsed.headings if h.name.casefold() == wanted]
        headings += [h for h in parsed.headings if h.title.casefold() == wanted]
        if not headings:
            raise NotFound(f"no section {heading} in this program")
        start, end = headings[0].start, headings[0].end
    if text.count("\n") == text.count("\r\n"):
        new_text = new_text.replace("\r\n", "\n").replace("\n", newline_of(text))
    if new_text and end < len(parsed.lines):
        new_text = _ended(new_text, newline_of(text))
    return "".join([*parsed.lines[:start], new_text, *parsed.lines[end:]])


def state_settings(text: str) -> str:
    """The program with its settings in a last section, for a reader that Metaloop does not carry them out for: an agent
    or a person. Without such a section where it sets nothing.

    The section is written anew each time and never read back. It describes every field that is set, and the other
    fields of the same group (``keep.pairs`` with ``keep.rule``). Raises ProgramError for a bad charter.
    """
    settings = settings_of(text)
    groups = {name.partition(".")[0] for name in settings.set_fields}
    stated = [(settings.field_text(name), info) for name, info in FIELDS.items() if name.partition(".")[0] in groups]
    with suppress(NotFound):
        text = replace_section(text, SETTINGS_HEADING, "")
    if not stated:
        return text
    lines = [f"- {one_line(value)} ({info.description})" for value, info in stated]
    section = "\n".join(["", "", f"## {SETTINGS_HEADING}", "", _SETTINGS_HOLD, "", *lines, ""])
    return text.rstrip() + section.replace("\n", newline_of(text))


def without(program: Program, directive_id: str) -> Program:
    """The program without one directive of any of its files. An item goes with its nested items, the header of a table
    with the table.

    Raises NotFound for an unknown id, ProgramError if nothing would be left or other statements would change.
    """
    removed = next((d for d in program.directives if d.directive_id == directive_id), None)
    if removed is None:
        raise NotFound(f"no directive {directive_id} in this program", ids=(directive_id,))
    if removed.kind == CHARTER:
        return program.with_text(unset_charter(program.text, removed.text.partition(":")[0]))
    if removed.kind == ORDER:
        raise ProgramError(f"program:{removed.line}: an order cannot be removed; remove or reorder the ideas instead")
    path = removed.file or program.files[0][0]
    parsed = outline(dict(program.files)[path].decode("utf-8"), path)
    placed = [d for d in program.directives if d.file == removed.file and d.kind not in (CHARTER, ORDER)]
    block = parsed.blocks[placed.index(removed)]
    kept = _statements(b for b in parsed.blocks if not block.start <= b.start < block.end)
    for text in _cut(parsed, block.start, block.end):
        if text.strip() and _statements(outline(text).blocks) == kept:
            return program.with_files({path: text})
    raise ProgramError(f"{path}:{block.start + 1}: removing this statement would change its neighbours")


def replace_ideas(text: str, items: Sequence[str]) -> str:
    """The text with its Ideas list replaced by these items; creates a section ``## Ideas`` if there is none.

    The new list replaces the first one and uses its kind of marker; further lists are removed. Raises ProgramError for
    an item that markdown would not parse as a single item.
    """
    parsed, newline = outline(text), newline_of(text)
    groups = _idea_lists(parsed)
    if not groups and not items:
        return text
    if not groups:
        return _with_ideas(parsed, _with_first_list(parsed, text, _list(items, "- ", newline), newline), items)
    lines = list(parsed.lines)
    for start, end in reversed(groups):
        new = _list(items, _marker(lines[start]), newline) if start == groups[0][0] else ""
        while not new and end < len(lines) and is_blank(lines[end]):
            end += 1
        lines[start:end] = [new if lines[end - 1].endswith(("\n", "\r")) else new.rstrip("\r\n")]
    return _with_ideas(parsed, "".join(lines), items)


def append_ideas(text: str, items: Sequence[str]) -> str:
    """The text with these items after its last idea. Raises ProgramError as `replace_ideas`."""
    parsed, newline = outline(text), newline_of(text)
    groups = _idea_lists(parsed)
    if not groups:
        return replace_ideas(text, items)
    start, end = groups[-1]
    known = [block for block in parsed.blocks if block.kind == "idea"]
    step = sum(start <= block.start < end and not block.depth for block in known)
    new = _list(items, _marker(parsed.lines[start], step), newline)
    changed = _ended("".join(parsed.lines[:end]), newline) + new + "".join(parsed.lines[end:])
    return _with_ideas(parsed, changed, [*(block.text for block in known), *items])


def reorder_ideas(text: str, order: Sequence[int]) -> str:
    """The text with its ideas in another order: ``order[i]`` is the old position of the new i-th idea.

    The same text where the list cannot be written anew, because it contains code or headings.
    """
    parsed = outline(text)
    ideas = [block for block in parsed.blocks if block.kind == "idea"]
    if sorted(order) != list(range(len(ideas))):
        raise ValueError(f"not an order of {len(ideas)} ideas: {list(order)}")
    if list(order) == sorted(order) or len(_outside(parsed)) + len(ideas) < len(parsed.blocks):
        return text
    try:
        return replace_ideas(text, [ideas[i].text for i in order])
    except ProgramError:  # an item that cannot be written again, such as a heading
        return text


def without_ideas(program: Program) -> Program:
    """The program without its idea list and without the proposer ``queue``: only its process, to measure how much of
    the gain the ideas cause."""
    text = replace_ideas(program.text, [])
    if "queue" in program.charter.proposers:
        rest = {name: share for name, share in program.charter.proposers.items() if name != "queue"}
        text = set_charter(text, "proposers", rest) if rest else unset_charter(text, "proposers")
    return program.with_text(text, f"{program.name}-without-ideas")


def with_missing_patches(text: str, near: Iterable[ProgramPatch]) -> str:
    """The text with a section Patches at its end for patches of other programs that its ideas name, as ``patch:zoom``
    or by the name of the edit, and that it does not define. The first one of a name counts."""
    program = Program.parse(text)
    terms = {term for idea in program.ideas for term in idea.terms}
    names, own = {named_in(term) for term in terms}, {patch.name.lower() for patch in program.patches}
    patches: dict[str, str] = {}
    for patch in near:
        name = patch.name.lower()
        if not patch.problem and name not in own and (name in names or patch.edit_name in terms):
            patches.setdefault(name, patch.text)
    if not patches:
        return text
    newline = newline_of(text)
    section = "## Patches\n\n" + "\n".join(patches.values())
    return spaced(text, newline) + section.replace("\n", newline)


def without_patch(text: str, patch: ProgramPatch) -> str:
    """The text without one of its patches and the ideas that name it. Raises ProgramError."""
    parsed = outline(text)
    end = next(block.end for block in parsed.blocks if block.start == patch.line - 1)
    kept = "".join([*parsed.lines[: patch.line - 1], *parsed.lines[end:]])
    gone = set() if patch.problem else {patch.edit_name}
    ideas, name = Program.parse(kept).ideas, patch.name.lower()
    rest = [i.text for i in ideas if not any(term in gone or named_in(term) == name for term in i.terms)]
    return kept if len(rest) == len(ideas) else replace_ideas(kept, rest)


def spaced(text: str, newline: str) -> str:
    """The text followed by a line end and one blank line, so that a heading can follow."""
    text = _ended(text, newline)
    return text if text.endswith((newline * 2, "\n\n")) else text + newline


def _statements(blocks: Iterable[StatementBlock]) -> list[tuple[str, str, str]]:
    return [(block.heading, block.kind, block.text) for block in blocks]


def _cut(parsed: Outline, start: int, end: int) -> Iterable[str]:
    """Ways to remove lines: with the surplus blank lines, without them, and leaving a blank line instead."""
    lines, last, first = parsed.lines, end, start
    if start == parsed.body or is_blank(lines[start - 1]):
        while last < len(lines) and is_blank(lines[last]):
            last += 1
        while last == len(lines) and first > parsed.body and is_blank(lines[first - 1]):
            first -= 1
    yield "".join(lines[:first] + lines[last:])
    yield "".join(lines[:start] + lines[end:])
    yield "".join([*lines[:start], newline_of("".join(lines)), *lines[end:]])


def _idea_lists(parsed: Outline) -> list[tuple[int, int]]:
    """Line ranges of the lists of ideas; lists separated only by blank lines count as one."""
    groups: list[tuple[int, int]] = []
    for block in (b for b in parsed.blocks if b.kind == "idea"):
        start, end = groups[-1] if groups else (0, -1)
        if groups and all(map(is_blank, parsed.lines[end : block.start])):
            groups[-1] = start, max(end, block.end)
        else:
            groups.append((block.start, block.end))
    return groups


def _with_first_list(parsed: Outline, text: str, new: str, newline: str) -> str:
    """The text with a list at the end of its Ideas section, which is new if there is none."""
    heading = next((h for h in parsed.headings if in_ideas(h.path)), None)
    if heading is None:
        return f"{spaced(text, newline)}## Ideas{newline}{newline}{new}"
    end = heading.end
    while is_blank(parsed.lines[end - 1]):
        end -= 1
    head, rest = "".join(parsed.lines[:end]), parsed.lines[end:]
    blank = newline if rest and not is_blank(rest[0]) else ""
    return spaced(head, newline) + new + blank + "".join(rest)


def _outside(parsed: Outline) -> list[tuple[str, str, str]]:
    """The statements outside the lists of ideas."""
    lists = _idea_lists(parsed)
    return _statements(b for b in parsed.blocks if not any(start <= b.start < end for start, end in lists))


def _with_ideas(old: Outline, text: str, items: Sequence[str]) -> str:
    """The text, if its ideas are these and its other statements are as before. Raises ProgramError."""
    new = outline(text)
    got = [block.text.split() for block in new.blocks if block.kind == "idea"]
    for number, (item, words) in enumerate(zip_longest(map(str.split, items), got), 1):
        if item != words:
            shown = " ".join(item or words or ())
            raise ProgramError(f"program:1: idea {number} is not a single list item: {shown[:60]!r}")
    if _outside(old) != _statements(b for b in new.blocks if b.kind != "idea"):
        raise ProgramError("program:1: writing the Ideas list would change other statements")
    return text


def _marker(line: str, step: int = 0) -> str:
    """The marker at the start of a list item's line (``- ``, ``3. ``); ``step`` is added to a number."""
    match = _MARKER.match(line)
    if not match:
        return "- "
    number = f"{int(match[3]) + step}{match[4]}" if match[3] else match[2]
    return match[1] + number + match[5]


def _list(items: Sequence[str], marker: str, newline: str) -> str:
    """List items; the lines after the first of an item are indented."""
    out = ""
    for number, item in enumerate(items):
        item_marker = _marker(marker, number)
        first, *more = (line.strip() for line in item.strip().split("\n"))
        indent = " " * len(item_marker.expandtabs(4))
        out += newline.join([item_marker + first, *(line and indent + line for line in more), ""])
    return out


def _ended(text: str, newline: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + newline
