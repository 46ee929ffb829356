"""Who follows a program at a bench: one kind per file, further kinds by entry point."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from programs.errors import NotFound

if TYPE_CHECKING:
    from inner_loop.contracts import Researcher
    from inner_loop.kit import Kit
    from programs.program import Program
    from trainer.task import Task

    Maker = Callable[[Program, Task, int, Kit], Researcher]

GROUP = "metaloop.researchers"


def find_researcher(name: str) -> Maker:
    """What makes a researcher of that kind from a program, a task, a seed and a kit; `kind:MORE` is of that kind."""
    kind = name.partition(":")[0]
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    for point in entry_points(group=GROUP, name=kind):
        return cast("Maker", point.load())
    known = ", ".join([*BUILT_IN, *sorted({point.name for point in entry_points(group=GROUP)})])
    raise NotFound(f"no researcher {name!r}", hint=f"known are {known}")


def _scripted(program: Program, task: Task, seed: int, kit: Kit) -> Researcher:
    import numpy as np

    from inner_loop.researchers.scripted import ScriptedResearcher

    return ScriptedResearcher(program, task, np.random.default_rng(seed))


def _chat(program: Program, task: Task, seed: int, kit: Kit) -> Researcher:
    from inner_loop.researchers.chat import ChatResearcher

    return ChatResearcher(program, task, seed, kit)


BUILT_IN: dict[str, Maker] = {"scripted": _scripted, "chat": _chat}
