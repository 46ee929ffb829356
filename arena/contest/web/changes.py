"""The differences between an entry and another text, by directive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from programs.diff import diff
from programs.directives import ORDER, Directive
from programs.program import Program
from programs.shelf import starter

MOST = 60_000  # characters of a program whose directives are compared; pairing them takes time
MOST_PAIRED = 50_000_000  # product of the two lengths: each directive is compared with each


@dataclass(frozen=True)
class BaseText:
    """The text to compare with: ``key`` for the URL, ``label`` for the page. Stock has no text here."""

    key: str
    label: str
    text: str


class Change(NamedTuple):
    """A directive that was added, removed or changed (``what``)."""

    what: str
    heading: str
    text: str


@lru_cache(maxsize=512)
def between(base: BaseText, text: str, name: str) -> list[Change] | None:
    """The directives that differ; None for a program too long to compare."""
    if max(len(text), len(base.text)) > MOST or len(text) * len(base.text) > MOST_PAIRED:
        return None
    before = Program.parse(base.text, base.key) if base.text else starter("stock")
    changes = diff(before, Program.parse(text, name))
    return [
        *(Change("added", d.heading, said(d)) for d in changes.added),
        *(Change("changed", new.heading, _both(old, new)) for old, new in changes.changed),
        *(Change("removed", d.heading, said(d)) for d in changes.removed),
    ]


def _both(old: Directive, new: Directive) -> str:
    return said(new) if new.kind == ORDER else f"{old.text} → {new.text}"


def said(directive: Directive) -> str:
    """Its text; the text of an order is a list of hashes, which is not shown."""
    return "(order of the ideas)" if directive.kind == ORDER else directive.text
