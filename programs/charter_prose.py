"""The charter in sentences, for a reader that Metaloop does not carry it out for: an agent or a person.

The sentences stand in one section at the end of a program, which is written anew each time and never read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic.fields import FieldInfo

from programs.charter import OTHERS, Charter, fields
from programs.common.errors import NotFound
from programs.common.text import newline_of, one_line, with_newline
from programs.edit import replace_section
from programs.settings import charter_fields, settings_of

HEADING = "How experiments are conducted"
_LEAD = "Where this program says otherwise elsewhere, these rules hold:"
_NEVER = 1e-4  # the share of a source that no run is long enough to use
_SOURCES = {
    "random": "a random change of one setting",
    "local": "a small step from the value of one setting that is kept",
    "tpe": "values that look like those of the better half of the experiments so far",
    "elite": "a cross of the best scripts so far, or one of them with up to three settings changed",
}


def with_sentences(text: str) -> str:
    """The program with a last section that says its charter; without one where it sets nothing.

    The front matter stays, so that Metaloop can still carry the program out. Raises ProgramError for a bad charter.
    """
    said = sentences(settings_of(text).charter, charter_fields(text))
    try:
        rest = replace_section(text, HEADING, "")
    except NotFound:
        rest = text
    if not said:
        return rest
    section = "\n".join(("", "", f"## {HEADING}", "", _LEAD, "", *(f"- {sentence}" for sentence in said), ""))
    return rest.rstrip() + with_newline(section, newline_of(text))


def sentences(charter: Charter, given: Iterable[str]) -> list[str]:
    """What a charter says in the fields ``given``, in its order. A margin is in the sentence of the keep rule."""
    named = {"keep.rule" if field in ("keep.margin", "keep.pairs") else field for field in given}
    named -= {"screen.promote"} if charter.screen.fraction == 1 else set()
    return [sentence for field, info in fields() if field in named and (sentence := _sentence(field, info, charter))]


def _sentence(field: str, info: FieldInfo, charter: Charter) -> str:
    says: Any = cast(Any, info.json_schema_extra)["says"]
    value = charter.get(field)
    text: str = says[OTHERS] if isinstance(value, dict) else says.get(value, says.get(OTHERS, ""))
    groups = one_line(", ".join(charter.focus))
    return text.format(**dict(charter), sources=_sources(charter.proposers), groups=groups)


def _sources(shares: Mapping[str, float]) -> str:
    """Where experiments come from. A share of the list of ideas is an order of work: a reader can count, not draw."""
    whole = sum(shares.values())
    parts = {name: share / whole for name, share in shares.items() if share > _NEVER * whole}
    queue = parts.pop("queue", 0.0)
    described = [
        _SOURCES.get(name, f"what the proposer {name} proposes")
        + (f" (in {share / (1 - queue):.0%} of cases)" if len(parts) > 1 else "")
        for name, share in parts.items()
    ]
    others = " or ".join(described)
    if not queue:
        return f"In each experiment, try {others}."
    listed = "Take the ideas of the list in its order, one in each experiment"
    if not others:
        return f"{listed}."
    rest = 1 - queue
    turn = f"every {round(queue / rest)} ideas, make 1" if queue > 0.6 else f"each idea, make {round(rest / queue)}"
    return f"{listed}; after {turn} of another kind: {others}. When no idea is left, make only these."
