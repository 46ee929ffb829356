"""The findings of `metaloop task check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trainer.constraints import CURE, REASON
from trainer.outcome import Outcome
from trainer.task import Task

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckFinding:
    """The result of one clause of the check, with the cure if it is not ok."""

    level: Level
    clause: str
    message: str
    hint: str = ""


def constraint_findings(task: Task, baseline: Outcome) -> Iterator[CheckFinding]:
    """The values of the task's constraints for the untouched source, unless it failed for another reason.

    A broken hard one is a warning here; the baseline itself is the error.
    """
    if baseline.status != "ok" and not baseline.reason.startswith(REASON):
        return
    for name, one in task.constraints.items():
        clause, kind = f"{REASON} {name}", "hard" if one.hard else "soft"
        value = baseline.constraints.get(name)
        if value is None:
            message = f"not measured; {one.bound} ({kind})"
            yield CheckFinding(
                "warning", clause, message, "correct its pattern or key" if one.kind == "printed" else ""
            )
        else:
            message, is_broken = f"{one.amount(value)}; {one.bound} ({kind})", one.is_broken(value)
            message += ": the untouched files break it" if is_broken else ""
            yield CheckFinding("warning" if is_broken else "ok", clause, message, CURE if is_broken else "")
