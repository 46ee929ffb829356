"""The starter programs: ``programs/library/*.md``."""

from __future__ import annotations

import difflib
from pathlib import Path

from programs.common.errors import NotFound
from programs.folder import load
from programs.program import Program

_LIBRARY = Path(__file__).with_name("library")
META = "meta"  # the instruction for writers of programs, no starter


def names() -> list[str]:
    """Names of the starters, alphabetically."""
    return sorted(path.stem for path in _LIBRARY.glob("*.md") if path.stem != META)


def starter(name: str) -> Program:
    """The starter of that name. Raises NotFound with the nearest name."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        raise NotFound(
            f"no starter program is called {name}",
            hint=f"did you mean {near[0]}?" if near else "known: " + ", ".join(names()),
        )
    return load(_LIBRARY / f"{name}.md")


def in_library(program: Program) -> bool:
    """Whether the library has this program under its name."""
    return program.name in names() and starter(program.name).program_id == program.program_id


def meta_program() -> Program:
    """The instruction for models that write programs."""
    return load(_LIBRARY / f"{META}.md")


def starters() -> list[Program]:
    """All starters, in the order of their names."""
    return [starter(name) for name in names()]
