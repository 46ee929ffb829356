"""What a model answers: one JSON object, checked, and the program that it makes of its parents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, JsonValue, ValidationError

from meta.mutators.llm.drop_file import drop_file
from meta.mutators.offline.cross_sections import join_chapters, split_chapters
from programs.common.bounded import json_value
from programs.common.text import one_line
from programs.edit import replace_ideas, replace_section, sections, spaced, with_missing_patches
from programs.patches import MIDDLE, REPLACE, SEARCH
from programs.program import Program
from programs.settings import set_charter, take_charter
from programs.structure import PATH, outline

CHARTER = "charter"
MOST_REASON = 300  # characters


class BadReply(Exception):
    """The reply makes no program; the message is one line and says why."""


class NewSection(BaseModel, extra="forbid"):
    """``name``: a heading of the program, a new one, or another of its files; an empty ``text`` removes it."""

    name: str = Field(min_length=1, max_length=160)
    text: str


class NewPatch(BaseModel, extra="forbid"):
    """A change of the script that an idea may name: whole lines, and those in their place."""

    name: str
    search: str
    replace: str


class WrittenChild(BaseModel, extra="forbid"):
    """A child. ``limits``: what limited the parents' runs. ``charter``: all settings of the child. ``ideas``: its whole
    list, where a number stands for the idea of the parents with that number. ``take``: sections of the second parent.
    What is null, empty or left out stays as the first parent has it. ``decline``: why there is no child."""

    limits: str = ""
    reason: str = ""
    evidence: list[str] = []
    charter: dict[str, JsonValue] | None = None
    ideas: list[int | str] | None = None
    sections: list[NewSection] = []
    take: list[str] = []
    patches: list[NewPatch] = []
    decline: str = ""

    @property
    def why(self) -> str:
        """The reason, in one line."""
        return one_line(self.reason, MOST_REASON)


def schema() -> dict[str, Any]:
    """The form of a reply as ``response_format``, for models that keep to a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "WrittenChild", "schema": WrittenChild.model_json_schema()}}


def parse_reply(text: str) -> WrittenChild:
    """The JSON object of a reply, which may stand between other text or in a code fence. Raises BadReply."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise BadReply("the reply has no JSON object")
    try:
        return WrittenChild.model_validate(json_value(text[start : end + 1], strict=False))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise BadReply(
            f"{one_line('.'.join(map(str, first['loc'])), 80) or 'the object'}: {one_line(first['msg'], 200)}"
        ) from None
    except ValueError as wrong:
        raise BadReply(f"the reply is not JSON: {one_line(str(wrong))[:100]}") from None


def build_child(parents: Sequence[Program], reply: WrittenChild) -> str:
    """The text of the child. Raises BadReply, ProgramError."""
    program = parents[0]
    if reply.take and len(parents) < 2:
        raise BadReply("take: there is no second parent to take from")
    if reply.take:
        program = _taking(program, parents[1], reply.take)
    for section in reply.sections:
        program = _with_section(program, section)
    text = program.text
    if reply.ideas is not None:
        text = replace_ideas(text, _listed(parents, reply.ideas))
    text += "".join(f"\n{_block(patch)}" for patch in reply.patches)
    text = with_missing_patches(text, [patch for parent in parents for patch in parent.patches])
    if reply.charter is not None:
        text = take_charter(text, "# x\n")
        for name, value in reply.charter.items():
            text = set_charter(text, name, value)
    return program.with_text(text).document


def _block(patch: NewPatch) -> str:
    body = "\n".join((SEARCH, patch.search.strip("\n"), MIDDLE, patch.replace.strip("\n"), REPLACE))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}patch:{patch.name}\n{body}\n{fence}\n"


def _listed(parents: Sequence[Program], ideas: Sequence[int | str]) -> list[str]:
    """The texts of a list of ideas. Raises BadReply for a number that no idea has."""
    known = [idea.text for parent in parents for idea in parent.ideas]
    texts = []
    for idea in ideas:
        number = str(idea).strip()
        if not number.removeprefix("-").isdecimal():
            texts.append(one_line(str(idea)).removeprefix("- "))
        elif len(number) < 10 and 0 < int(number) <= len(known):
            texts.append(known[int(number) - 1])
        else:
            raise BadReply(f"ideas: there is no idea {number[:20]}; the parents have {len(known)}, from 1")
    return [text for text in texts if text]


def _taking(first: Program, second: Program, names: Sequence[str]) -> Program:
    """The first parent with sections of the second. Raises BadReply."""
    known = {*split_chapters(first.text), *split_chapters(second.text)} - {""}
    if unknown := [name for name in names if name not in known and name.casefold() != CHARTER]:
        raise BadReply(f"take: no parent has a section {one_line(unknown[0])[:60]}")
    text, _ = join_chapters(first, second, {*names})
    if CHARTER in map(str.casefold, names):
        text = take_charter(text, second.text)
    return first.with_parts(text, second)


def _with_section(program: Program, section: NewSection) -> Program:
    """The program with one section or file new. Raises BadReply."""
    name, body = section.name.lstrip("# "), section.text.strip("\n")
    if name in program.further:
        return program.with_files({name: body + "\n"}) if body else drop_file(program, name)
    if outline(body).headings:
        raise BadReply(f"section {name[:60]}: its text contains a heading")
    known = [s for s in sections(program.text) if s.level]
    paths = {s.heading.split(PATH)[-1].casefold(): s for s in reversed(known)}
    heading = (paths | {s.heading.casefold(): s for s in reversed(known)}).get(name.casefold())
    if heading is None and not body:
        raise BadReply(f"there is no section {name[:60]} to remove")
    if heading is None:
        return program.with_text(f"{spaced(program.text, chr(10))}## {name}\n\n{body}\n")
    document = outline(heading.text)
    below = "".join(document.lines[document.headings[0].body :])
    head = heading.text[: len(heading.text) - len(below)]
    new = f"{head.rstrip()}\n\n{body}\n\n" if body else ""
    return program.with_text(replace_section(program.text, heading.heading, new).rstrip() + "\n")


def match_rows(evidence: Sequence[str], offered: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """The cited rows by their ids in the ledger, and a remark on those that were not shown. ``offered``: by short
    id."""
    words = [word.strip("[]`. ") for word in evidence]
    unknown = ", ".join(one_line(word)[:40] for word in words if word and word not in offered)
    rows = tuple(dict.fromkeys(offered[word] for word in words if word in offered))
    return rows, f"cites {unknown}, which the evidence does not have" if unknown else ""
