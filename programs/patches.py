"""Patches that a program defines itself: a change of the script in a fenced block, which its ideas name.

    ```patch:zoom train.py
    <<<<<<< SEARCH
    …
    =======
    …
    >>>>>>> REPLACE
    ```

An idea of the same program applies it as `patch:zoom`. The file may be left out: the first editable one of the task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from programs.common.ids import content_id
from programs.structure import Outline

LINES, PATCHES = 60, 8  # of one patch, and patches of one program
SEARCH, MIDDLE, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
FORM = f"{SEARCH}, lines, {MIDDLE}, lines, {REPLACE}, each mark on a line of its own"
_MARK = re.compile(rf"^({SEARCH}|{MIDDLE}|{REPLACE})[^\S\n]*$\n?", re.MULTILINE)
_FENCE = re.compile(r"(?:[-*+][ \t]|[ \t>])*(?:`{3,}|~{3,})[ \t]*patch:(\S*)[ \t]*(\S*)[ \t]*")
_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
_TERM = re.compile(r"\+?\s*patch:\s*([A-Za-z]\w*)", re.ASCII)

Block = tuple[str, str]


class BadBlock(ValueError):
    """Text that is no search/replace block. The message is for its author."""


@dataclass(frozen=True)
class ProgramPatch:
    """``name`` as ideas write it. ``blocks``: the lines searched for and those in their place. ``line``: of its fence,
    from 1. ``problem``: why it cannot be used; then no idea can name it."""

    name: str
    file: str
    blocks: tuple[Block, ...]
    line: int
    problem: str = ""

    @cached_property
    def edit_name(self) -> str:
        """The name of its edit in the ledger: different patches with one name stay apart."""
        parts = [part for block in self.blocks for part in block]
        return f"patch_{self.name.lower()}_{content_id('x', self.file, *parts)[1:7]}"

    @property
    def text(self) -> str:
        """Its fenced block, as a program contains it."""
        body = "\n".join(f"{SEARCH}\n{old}\n{MIDDLE}\n{new}\n{REPLACE}" for old, new in self.blocks)
        fence = max(["``", *re.findall("`+", body)], key=len) + "`"
        return f"{fence}patch:{self.name} {self.file}".rstrip() + f"\n{body}\n{fence}\n"


def read_patches(parsed: Outline) -> tuple[ProgramPatch, ...]:
    """The patches of an entry file, in their order, unusable ones too."""
    patches: list[ProgramPatch] = []
    for block in parsed.blocks:
        opened = _FENCE.match(parsed.lines[block.start]) if block.kind == "code" else None
        if opened is None:
            continue
        name, file = opened.groups()
        blocks, problem = _read_blocks(block.text.partition("\n")[2])
        if not _NAME.fullmatch(name):
            problem = "its name is not a word of at most 40 letters, digits and underscores"
        elif name.lower() in (other.name.lower() for other in patches):
            problem = "another patch above it has this name"
        elif len(patches) >= PATCHES:
            problem = f"a program has at most {PATCHES} patches"
        patches.append(ProgramPatch(name, file, blocks, block.start + 1, problem))
    return tuple(patches)


def _read_blocks(text: str) -> tuple[tuple[Block, ...], str]:
    """The blocks of a patch, or none and the problem."""
    try:
        blocks = blocks_of(text)
    except BadBlock as bad:
        return (), str(bad)
    if not all(new.strip() for _, new in blocks):
        return (), "a replacement is empty; to remove lines, search for one more line and repeat it"
    if any(old == new for old, new in blocks):
        return (), "a replacement equals its search text"
    size = sum(part.count("\n") + 1 for block in blocks for part in block)
    return (blocks, "") if size <= LINES else ((), f"it has {size} lines; the maximum is {LINES}")


def blocks_of(text: str) -> tuple[Block, ...]:
    """The search/replace blocks in a text, at least one. Raises BadBlock."""
    parts = _MARK.split(text)
    marks, texts = parts[1::2], [part.removesuffix("\n") for part in parts[::2]]
    if not text.strip():
        raise BadBlock("it contains no block")
    if marks != [SEARCH, MIDDLE, REPLACE] * max(1, len(marks) // 3) or any(map(str.strip, texts[::3])):
        raise BadBlock(f"a block is {FORM}")
    if not all(map(str.strip, texts[1::3])):
        raise BadBlock("a search text is empty")
    return tuple(zip(texts[1::3], texts[2::3], strict=True))


def named_in(term: str) -> str:
    """The patch that a word of an idea names, in lower case; empty if it names none."""
    match = _TERM.fullmatch(term.strip())
    return match[1].lower() if match else ""


def by_edit_name(terms: Iterable[str], patches: Sequence[ProgramPatch]) -> tuple[str, ...]:
    """The words of an idea with ``patch:zoom`` as the name of its edit. A name that the program does not define stays,
    and no task can read it."""
    usable = {patch.name.lower(): patch.edit_name for patch in patches if not patch.problem}
    return tuple(usable.get(named_in(term), term) for term in terms)
