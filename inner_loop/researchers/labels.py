"""A program as a researcher reads it: each directive with a short label for citations."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inner_loop.researchers.quoting import clean, fenced, line, within
from programs.directives import CHARTER, ORDER
from programs.front_matter import locate
from programs.program import Program
from programs.structure import outline
from programs.text import BOM, split_lines

_BEFORE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,8}[.)])[ \t]+)?(?:\|[ \t]*)?")


@dataclass(frozen=True)
class Labelled:
    """``prose``: the files, with a label at each statement; ``brief``: the same without the Ideas; ``charter``: (label,
    `field: value`); ``ids`` by label. ``ideas``: how many there are."""

    prose: str
    brief: str
    charter: tuple[tuple[str, str], ...]
    ids: dict[str, str]
    ideas: int = 0


def labelled(program: Program) -> Labelled:
    lines = {"": split_lines(program.text)}
    lines |= {path: split_lines(raw.decode("utf-8")) for path, raw in program.files[1:]}
    ids: dict[str, str] = {}
    charter: list[tuple[str, str]] = []
    for directive in program.directives:
        label = f"d{directive.position + 1}"
        if directive.kind == ORDER:
            continue
        ids[label] = directive.directive_id
        if directive.kind == CHARTER:
            charter.append((label, directive.text))
            continue
        at = directive.line - 1
        said = lines[directive.file][at]
        before = _BEFORE.match(said)
        cut = before.end() if before else 0
        lines[directive.file][at] = f"{said[:cut]}[{label}] {said[cut:]}"
    entry = lines.pop("")
    parts = [_prose(entry), *(_as_file(path, _prose(text)) for path, text in lines.items())]
    parts += [_as_file(f"{path} as the run begins", _prose(split_lines(raw.decode()))) for path, raw in program.living]
    ideas = {
        at for block in outline(program.text).blocks if block.kind == "idea" for at in range(block.start, block.end)
    }
    brief = [_prose(["" if at in ideas else said for at, said in enumerate(entry)]), *parts[1:]]
    return Labelled("\n\n".join(parts), "\n\n".join(brief), tuple(charter), ids, len(program.ideas))


def _prose(lines: list[str]) -> str:
    """The text without its front matter."""
    prose = clean("".join(lines[locate(lines).end :]).removeprefix(BOM)).strip()
    return within(prose, "program")


def _as_file(name: str, prose: str) -> str:
    """A file that the entry file links to or names, fenced: nothing in it looks like the end of the file."""
    return f"The file {line(name, 200)}:\n\n{fenced(prose)}"
