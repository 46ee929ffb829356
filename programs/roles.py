"""The researchers of an organization, from its program: the headings below "Roles", else the items of that list,
else the files in the folder roles/."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from programs.common.text import one_line
from programs.front_matter import without_front_matter
from programs.program import Program
from programs.structure import PATH, Heading, Outline, outline

MOST = 8  # researchers of one run
NAME = 40  # characters of a name


@dataclass(frozen=True)
class Role:
    """One researcher: a name, and the section of the program that describes it."""

    name: str
    text: str


def roles(program: Program) -> tuple[Role, ...]:
    """One Role per heading directly below a heading named Roles, or per item of its list; else per file of the
    program in a folder named roles; else a single researcher.

    An item is `name: what it does`. Only the first eight are used. Those with the same name get a number.
    """
    document = outline(program.text)
    above = next((h for h in document.headings if re.sub(r"[\W\d_]+", "", h.title).casefold() == "roles"), None)
    if above is None:
        titled = [
            (PurePosixPath(path).stem, without_front_matter(text).strip())
            for path, text in program.further.items()
            if "roles" in PurePosixPath(path).parts[:-1]
        ]
    else:
        titled = _by_heading(document, above) or _by_item(document, above)
    seen: Counter[str] = Counter()
    out: list[Role] = []
    for full, text in titled[:MOST]:
        name = one_line(full, NAME)
        seen[name] += 1
        out.append(Role(name if seen[name] == 1 else f"{name} {seen[name]}", text))
    return tuple(out) or (Role("researcher", ""),)


def addressee(wanted: str, among: Sequence[Role]) -> Role | None:
    """The role that an idea is for (`ProgramIdea.role`); None if it is for all, or no role has that name."""
    return next((role for role in among if wanted and role.name.casefold() == wanted.casefold()), None)


def _by_heading(document: Outline, above: Heading) -> list[tuple[str, str]]:
    """Titles and texts of the highest headings below one; a text goes on to the next of them."""
    below = [h for h in document.headings if h.path.startswith(above.path + PATH) and h.start > above.start]
    level = min((h.level for h in below), default=0)
    ends = [*(h.start for h in document.headings if h.level <= level), len(document.lines)]
    return [
        (h.title, "".join(document.lines[h.body : next(end for end in ends if end > h.start)]).strip())
        for h in below
        if h.level == level
    ]


def _by_item(document: Outline, above: Heading) -> list[tuple[str, str]]:
    items = [b for b in document.blocks if b.kind == "item" and b.heading == above.path]
    top = min((item.depth for item in items), default=0)
    return [(re.sub(r"[*_`]", "", item.text.partition(":")[0]), item.text) for item in items if item.depth == top]
