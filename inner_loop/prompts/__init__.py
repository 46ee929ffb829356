"""Prompts are jinja2 files; a model sees only what is rendered here."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from programs.common.templates import jinja_environment

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """The rendered prompt file. A missing value is an error."""
    return _environment().get_template(f"{name}.md.j2").render(**values)


@cache
def _environment() -> Environment:
    from inner_loop.chat.quoting import file_block

    environment = jinja_environment(FOLDER, whole=True)
    environment.filters["file_block"] = file_block
    return environment
