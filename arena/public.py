"""What is said of a result whose hidden text was at hand: `[data] public` of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs.errors import MetaloopError
from trainer.task import Task

if TYPE_CHECKING:
    from arena.study import Study


def public_line(task: Task) -> str:
    """One sentence of a public task; empty for one whose hidden data come from the study's secret."""
    if not task.public:
        return ""
    text = "the installed standard library" if task.text == "stdlib" else task.text or "its hidden data"
    return f"{task.name}: the hidden text was public ({text}): a model or a person may know it"


def public_lines(study: Study) -> list[str]:
    """Of every public task of a study, those that are gone or have changed left out: they were told of then."""
    found = []
    for name in (study.config.task, *(each.task for each in (*study.config.further, *study.config.reserve))):
        try:
            found.append(public_line(Task.load(name)))
        except MetaloopError:
            continue
    return [text for text in found if text]
