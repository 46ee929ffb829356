"""Who follows a program at a bench: one kind per file, further kinds by entry point."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from programs.errors import NotFound

if TYPE_CHECKING:
    from inner_loop.contracts import Researcher
    from programs.program import Program
    from trainer.task import Task

    Maker = Callable[[Program, Task, int], Researcher]

GROUP = "metaloop.researchers"


def find_researcher(name: str) -> Maker:
    """What makes a researcher of that kind from a program, a task and a seed; `chat:MODEL` is of the kind `chat`."""
    if name == "scripted":
        return _scripted
    kind = name.partition(":")[0]
    for point in entry_points(group=GROUP, name=kind):
        return cast("Maker", point.load())
    known = ", ".join(["scripted", *sorted({point.name for point in entry_points(group=GROUP)})])
    raise NotFound(f"no researcher {name!r}", hint=f"known are {known}")


def _scripted(program: Program, task: Task, seed: int) -> Researcher:
    import numpy as np

    from inner_loop.researchers.scripted import ScriptedResearcher

    return ScriptedResearcher(program, task, np.random.default_rng(seed))
