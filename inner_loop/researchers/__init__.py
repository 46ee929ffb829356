"""Researchers follow a program at a bench: one kind per file, further kinds by entry point."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from programs.common.registry import Registry

if TYPE_CHECKING:
    from inner_loop.contracts import Researcher

    Maker = Callable[..., Researcher]  # (program, task, seed, context)

RESEARCHERS: Registry[Maker] = Registry(
    "researchers",
    "inner_loop.researchers",
    ("program", "task", "seed", "context"),
    first=("scripted", "chat", "command"),
)


def turn_size(name: str) -> int:
    """The most experiments of a turn of a researcher of this kind. Raises NotFound."""
    return int(getattr(RESEARCHERS.get(name.partition(":")[0]), "turn_size", 1))


def find_researcher(name: str) -> Maker:
    """The function that makes a researcher from a program, a task, a seed and a run context. ``kind:MORE`` passes
    ``more=MORE``.

    Raises NotFound.
    """
    kind, _, more = name.partition(":")
    make = RESEARCHERS.get(kind)
    return partial(make, more=more) if more else make
