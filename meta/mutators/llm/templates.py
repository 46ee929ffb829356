"""Prompt templates; all untrusted text is fenced as data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from analysis.evidence.page_text import fact, quoted
from analysis.wording import significant
from inner_loop.chat.quoting import mark_of
from programs.common.templates import jinja_environment
from programs.common.text import one_line

FOLDER = Path(__file__).parents[2] / "prompts"


def render(name: str, **what: Any) -> str:
    return _environment().get_template(name).render(**what)


def fenced(text: str, name: str) -> str:
    """Text between two lines with a mark that the text does not contain, so nothing in it can end the block."""
    mark = mark_of(text)
    return f'<data name="{name}" mark="{mark}">\n{text.rstrip()}\n</data mark="{mark}">'


@cache
def _environment() -> jinja2.Environment:
    environment = jinja_environment(FOLDER, whole=True)
    environment.filters.update(fenced=fenced, number=significant, fact=fact, quoted=quoted, one_line=one_line)
    return environment
