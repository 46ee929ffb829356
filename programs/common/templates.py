"""The jinja environments of all pages and prompts: a missing value is an error; a line with a tag leaves no line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def jinja_environment(
    *folders: Path,
    escaped: bool | Callable[[str | None], bool] = False,
    whole: bool = False,
    shown: Callable[[Any], Any] | None = None,
) -> Environment:
    """``escaped``: values for HTML, in all templates or in those whose names it accepts; ``whole``: a text keeps the
    newline at its end; ``shown``: what is written of a value. Cache the result: it compiles a template once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=escaped,
        finalize=shown,
        keep_trailing_newline=whole,
    )
