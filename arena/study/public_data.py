"""The remark on results whose hidden data are public: `[data] public` of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs.common.errors import MetaloopError
from trainer.task import Task

if TYPE_CHECKING:
    from arena.study.study import Study


def public_line(task: Task) -> str:
    """One sentence of a public task; empty for one whose hidden data come from the study's secret."""
    if not task.public:
        return ""
    return f"{task.name}: its hidden data are public, so a model or a person may know them"


def public_lines(study: Study) -> list[str]:
    """One line for each public task of a study; tasks that are missing or changed are left out."""
    lines = []
    for name in (study.config.task, *(each.task for each in study.config.others)):
        try:
            lines.append(public_line(Task.load(name)))
        except MetaloopError:
            continue
    return [text for text in lines if text]
