"""The findings of `metaloop task check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from trainer.constraints import Kind, softened
from trainer.outcome import Outcome
from trainer.task import Task

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckFinding:
    """The result of one clause of the check, with the cure if it is not ok. ``edit``, ``gain``: of a knob, what a
    training with this value gained over one without, if the two can be distinguished."""

    level: Level
    clause: str
    message: str
    hint: str = ""
    edit: str = ""
    gain: float | None = None


def unconstrained(task: Task) -> Task:
    """The task with all constraints soft, so that the values of an untouched source that breaks one are measured."""
    return replace(task, constraints=softened(task.constraints, *get_args(Kind)))


def constraint_findings(task: Task, baseline: Outcome) -> Iterator[CheckFinding]:
    """The value of each constraint for the untouched source, as trained by `unconstrained`; errors come last."""
    if baseline.metric is not None:
        yield from sorted(_judged(task, baseline), key=lambda finding: finding.level == "error")


def _judged(task: Task, baseline: Outcome) -> Iterator[CheckFinding]:
    for name, one in task.constraints.items():
        value, clause = baseline.constraints.get(name), f"constraint {name}"
        bad: Level = "error" if one.hard else "warning"
        limit = f"{one.bound} ({'hard' if one.hard else 'soft: only recorded'})"
        if value is None:
            printed = one.kind == "printed"
            what = "not found in the output of the untouched files" if printed else "not measured"
            yield CheckFinding(bad, clause, f"{what}; {limit}", "correct its pattern or key" if printed else "")
        elif one.is_broken(value):
            hint = "correct its limit" + (", or set hard = false" if one.hard else "")
            yield CheckFinding(bad, clause, f"{one.amount(value)}: the untouched files break it; {limit}", hint)
        else:
            yield CheckFinding("ok", clause, f"{one.amount(value)}; {limit}")
