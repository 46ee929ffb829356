"""The researchers of an organization, from its program: the headings below "Roles", else the items of that list,
else the files in the folder roles/."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from programs.program import Program
from programs.structure import PATH, Heading, Outline, outline
from programs.text import one_line, split_lines

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

    An item is `name: what it does`. Only the first eight are used.
    """
    document = outline(program.text)
    above = next((h for h in document.headings if _is_roles(h.title)), None)
    if above is None:
        return tuple(_distinct(_by_file(program)[:MOST])) or (Role("researcher", ""),)
    named = _by_heading(document, above) or _by_item(document, above)
    return tuple(_distinct(named[:MOST])) or (Role("researcher", ""),)


def addressee(wanted: str, among: Sequence[Role]) -> Role | None:
    """The role that an idea is for (`ProgramIdea.role`); None if it is for all, or no role has that name."""
    return next((role for role in among if wanted and role.name.casefold() == wanted.casefold()), None)


def _by_file(program: Program) -> list[Role]:
    files = [(PurePosixPath(path), raw.decode("utf-8")) for path, raw in program.files[1:]]
    return [
        Role(_name(path.stem), "".join(split_lines(text)[outline(text).body :]).strip())
        for path, text in files
        if "roles" in path.parts[:-1]
    ]


def _is_roles(title: str) -> bool:
    return re.sub(r"[\W\d_]+", "", title).casefold() == "roles"


def _by_heading(document: Outline, above: Heading) -> list[Role]:
    below = [h for h in document.headings if h.path.startswith(above.path + PATH) and h.start > above.start]
    level = min((h.level for h in below), default=0)
    named: list[Role] = []
    for heading in (h for h in below if h.level == level):
        deeper = [h.end for h in below if h.path.startswith(heading.path + PATH) and h.start > heading.start]
        text = "".join(document.lines[heading.body : max([heading.end, *deeper])])
        named.append(Role(_name(heading.title), text.strip()))
    return named


def _by_item(document: Outline, above: Heading) -> list[Role]:
    items = [b for b in document.blocks if b.kind == "item" and b.heading == above.path]
    top = min((item.depth for item in items), default=0)
    heads = ((item.text.partition(":")[0], item.text.strip()) for item in items if item.depth == top)
    return [Role(_name(re.sub(r"[*_`]", "", name)), text) for name, text in heads]


def _name(text: str) -> str:
    name = one_line(text)
    return name if len(name) <= NAME else name[: NAME - 1] + "…"


def _distinct(named: list[Role]) -> list[Role]:
    """Roles with the same name get a number."""
    seen: Counter[str] = Counter()
    out: list[Role] = []
    for role in named:
        seen[role.name] += 1
        out.append(role if seen[role.name] == 1 else Role(f"{role.name} {seen[role.name]}", role.text))
    return out
