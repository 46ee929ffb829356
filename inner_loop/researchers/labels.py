"""A program as a researcher reads it: each directive with a short label for citations."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inner_loop.researchers.quoting import clean, within
from programs.directives import CHARTER, ORDER
from programs.front_matter import locate
from programs.program import Program
from programs.text import BOM, split_lines

_BEFORE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,8}[.)])[ \t]+)?(?:\|[ \t]*)?")


@dataclass(frozen=True)
class Labelled:
    """``prose`` with a label before each statement; ``charter`` as (label, `field: value`); ``ids`` by label."""

    prose: str
    charter: tuple[tuple[str, str], ...]
    ids: dict[str, str]


def labelled(program: Program) -> Labelled:
    lines = split_lines(program.text)
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
        before = _BEFORE.match(lines[at])
        cut = before.end() if before else 0
        lines[at] = f"{lines[at][:cut]}[{label}] {lines[at][cut:]}"
    body = lines[locate(lines).end :]
    prose = clean("".join(body).removeprefix(BOM)).strip()
    return Labelled(within(prose, "program"), tuple(charter), ids)
