"""Directives: the addressable statements of a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from programs.common.ids import content_id, normalise
from programs.settings import CharterSettings
from programs.structure import Outline, StatementBlock

CHARTER = "charter"  # heading and kind of charter fields
ORDER = "order"
FILE = " › "  # between the path of a file and the headings in it


@dataclass(frozen=True)
class Directive:
    """One statement. ``heading`` is its path (``Setup > Ideas``, in another file than the entry ``roles/critic.md ›
    Setup``); ``position`` counts from 0 through all files, ``line`` from 1 in its ``file`` (empty: the entry file).

    ``kind`` is one of item, idea, paragraph, table-row, code, charter, order. The text of a charter field has the form
    ``screen.fraction: 0.25``; the text of an order is the directive ids of the ideas, one per line.
    """

    directive_id: str
    heading: str
    kind: str
    text: str
    position: int
    line: int
    file: str = ""


def directive_id(heading: str, kind: str, text: str, ordinal: int = 1) -> str:
    """Hash of heading path, kind and text; for a repeated statement also its number among the identical ones."""
    suffix = (str(ordinal),) if ordinal > 1 else ()
    return content_id("d", normalise(heading), kind, normalise(text), *suffix)


def read_directives(parsed: Outline, settings: CharterSettings) -> tuple[Directive, ...]:
    """All directives of a program in the order of its lines."""
    blocks = []
    for field, line in settings.set_fields.items():
        blocks.append(StatementBlock(CHARTER, CHARTER, line - 1, line, [settings.field_text(field)]))
    directives = _number([*blocks, *parsed.blocks])
    if ideas := [directive for directive in directives if directive.kind == "idea"]:  # their order is one, too
        first, text = ideas[0], "\n".join(idea.directive_id for idea in ideas)
        order = directive_id(first.heading, ORDER, text)
        directives.insert(first.position, Directive(order, first.heading, ORDER, text, 0, first.line))
    return tuple(replace(directive, position=position) for position, directive in enumerate(directives))


def read_file_directives(path: str, parsed: Outline, position: int) -> tuple[Directive, ...]:
    """The directives of a file beside the entry file, whose front matter is not read and whose lists are no ideas."""
    blocks = [
        replace(b, heading=FILE.join(filter(None, (path, b.heading))), kind="item" if b.kind == "idea" else b.kind)
        for b in parsed.blocks
    ]
    return tuple(replace(d, file=path, position=position + d.position) for d in _number(blocks))


def _number(blocks: Iterable[StatementBlock]) -> list[Directive]:
    seen: Counter[str] = Counter()
    out = []
    for position, block in enumerate(blocks):
        statement = block.heading, block.kind, block.text
        first = directive_id(*statement)
        seen[first] += 1
        out.append(Directive(directive_id(*statement, seen[first]), *statement, position, block.start + 1))
    return out
