"""Edits of the Ideas list: replaces it, or reorders its items."""

from __future__ import annotations

from collections.abc import Sequence

from programs.errors import ProgramError
from programs.layout import ends_with_newline, item_lines, list_marker, spaced
from programs.structure import Outline, StatementBlock, in_ideas, outline
from programs.text import is_blank, newline_of, split_lines


def replace_ideas(text: str, items: Sequence[str]) -> str:
    """The text with its Ideas list replaced by these items; creates a section ``## Ideas`` if there is none.

    The new list replaces the first one and uses its kind of marker; further lists are removed. Raises ProgramError for
    an item that markdown would not parse as a single item.
    """
    parsed = outline(text)
    newline = newline_of(text)
    groups = _groups(parsed)
    if groups:
        changed = _with_list(parsed, groups, items, newline)
    elif not items:
        return text
    else:
        changed = _with_first_list(parsed, text, items, newline)
    _check(parsed, outline(changed), items)
    return changed


def append_ideas(text: str, items: Sequence[str]) -> str:
    """The text with these items after its last idea. Raises ProgramError as `replace_ideas`."""
    parsed = outline(text)
    groups, newline = _groups(parsed), newline_of(text)
    if not groups:
        return replace_ideas(text, items)
    start, end = groups[-1]
    known = [block for block in parsed.blocks if block.kind == "idea"]
    top = sum(start <= block.start < end and not block.depth for block in known)
    marker = list_marker(parsed.lines[start])
    numbered = list_marker(marker, step=top) if any(c.isdigit() for c in marker) else marker
    above = ends_with_newline("".join(parsed.lines[:end]), newline)
    changed = "".join([above, *_list(items, numbered, newline), *parsed.lines[end:]])
    _check(parsed, outline(changed), [*(block.text for block in known), *items])
    return changed


def reorder_ideas(text: str, order: Sequence[int]) -> str:
    """The text with its ideas in another order: ``order[i]`` is the old position of the new i-th idea.

    A flat bulleted list is moved line by line; nested, numbered or scattered lists are written again.
    """
    parsed = outline(text)
    ideas = [block for block in parsed.blocks if block.kind == "idea"]
    if sorted(order) != list(range(len(ideas))):
        raise ValueError(f"not an order of {len(ideas)} ideas: {list(order)}")
    if list(order) == sorted(order):
        return text
    flat = not any(block.depth for block in ideas) and len(_groups(parsed)) == 1
    if not flat or list_marker(parsed.lines[ideas[0].start]).strip()[:1].isdigit():
        return replace_ideas(text, [ideas[i].text for i in order])
    return _moved(parsed, ideas, order, newline_of(text))


def _moved(parsed: Outline, ideas: Sequence[StatementBlock], order: Sequence[int], newline: str) -> str:
    lines = parsed.lines
    chunks = ["".join(lines[ideas[i].start : ideas[i].end]) for i in order]
    chunks = [ends_with_newline(chunk, newline) for chunk in chunks]
    if not lines[ideas[-1].end - 1].endswith(("\n", "\r")):  # the list ends a file without a final line end
        chunks[-1] = chunks[-1].rstrip("\r\n")
    out = ["".join(lines[: ideas[0].start])]
    for index, (block, chunk) in enumerate(zip(ideas, chunks, strict=True)):
        following = ideas[index + 1].start if index + 1 < len(ideas) else len(lines)
        out += [chunk, *lines[block.end : following]]
    return "".join(out)


def _groups(parsed: Outline) -> list[tuple[int, int]]:
    """Line ranges of the lists of ideas; lists separated only by blank lines count as one."""
    groups: list[tuple[int, int]] = []
    for block in (b for b in parsed.blocks if b.kind == "idea"):
        if groups and all(is_blank(line) for line in parsed.lines[groups[-1][1] : block.start]):
            groups[-1] = (groups[-1][0], max(groups[-1][1], block.end))
        else:
            groups.append((block.start, block.end))
    return groups


def _with_list(parsed: Outline, groups: list[tuple[int, int]], items: Sequence[str], newline: str) -> str:
    lines = list(parsed.lines)
    for start, end in reversed(groups[1:]):
        while end < len(lines) and is_blank(lines[end]):
            end += 1
        del lines[start:end]
    start, end = groups[0]
    if not items:
        while end < len(lines) and is_blank(lines[end]):
            end += 1
    new = _list(items, list_marker(parsed.lines[start]), newline)
    if new and not lines[end - 1].endswith(("\n", "\r")):
        new[-1] = new[-1].rstrip("\r\n")
    return "".join([*lines[:start], *new, *lines[end:]])


def _with_first_list(parsed: Outline, text: str, items: Sequence[str], newline: str) -> str:
    section = next((h for h in parsed.headings if in_ideas(h.path)), None)
    if section is None:
        return spaced(text, newline) + f"## Ideas{newline}{newline}" + "".join(_list(items, "- ", newline))
    end = section.end
    while end > section.body and is_blank(parsed.lines[end - 1]):
        end -= 1
    above = spaced("".join(parsed.lines[:end]), newline)
    below = split_lines("".join(parsed.lines[end:]))
    gap = [newline] if below and not is_blank(below[0]) else []
    return above + "".join([*_list(items, "- ", newline), *gap, *below])


def _list(items: Sequence[str], marker: str, newline: str) -> list[str]:
    out = []
    for index, item in enumerate(items):
        own = list_marker(marker, step=index) if any(c.isdigit() for c in marker) else marker
        out += item_lines(item, own, newline)
    return out


def _check(old: Outline, new: Outline, items: Sequence[str]) -> None:
    """Parses the new text: the ideas must be the given ones, and nothing else may have changed."""
    got = [" ".join(block.text.split()) for block in new.blocks if block.kind == "idea"]
    for index, item in enumerate(items):
        if index >= len(got) or got[index] != " ".join(item.split()):
            raise ProgramError(f"program:1: idea {index + 1} is not a single list item: {item[:60]!r}")
    if len(got) > len(items):
        raise ProgramError("program:1: markdown parses the new ideas as more items than were given")
    within = [(b.start, b.end) for b in old.blocks if b.kind == "idea"]
    others = [
        (b.heading, b.kind, b.text)
        for b in old.blocks
        if b.kind != "idea" and not any(start <= b.start < end for start, end in within)
    ]
    if others != [(b.heading, b.kind, b.text) for b in new.blocks if b.kind != "idea"]:
        raise ProgramError("program:1: writing the Ideas list would change other statements")
