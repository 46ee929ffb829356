"""The last `metaloop task check` of a task, beside its task.toml, so that the commands that start studies need not test
it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from programs.common.bounded import json_value
from programs.common.errors import Corrupt
from programs.common.files import read_inside
from trainer.constraints import softened
from trainer.edits import EditError
from trainer.gpu import hardware_class
from trainer.outcome import Outcome
from trainer.task import Task
from trainer.user_files import write_private

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckFinding:
    """The result of one clause of the check, with the cure if it is not ok. ``measured``: numbers of the untouched
    files that plans need (`measured`)."""

    level: Level
    clause: str
    message: str
    hint: str = ""
    measured: Mapping[str, float] = field(default_factory=dict, hash=False)


def unconstrained(task: Task) -> Task:
    """The task with all constraints soft, so that the values of an untouched source that breaks one are measured."""
    return replace(task, constraints=softened(task.constraints))


def constraint_findings(task: Task, baseline: Outcome) -> Iterator[CheckFinding]:
    """The value of each constraint for the untouched source, as trained by `unconstrained`; errors come last."""
    if baseline.metric is not None:
        yield from sorted(_judged(task, baseline), key=lambda finding: finding.level == "error")


def _judged(task: Task, baseline: Outcome) -> Iterator[CheckFinding]:
    for name, constraint in task.constraints.items():
        value, clause = baseline.constraints.get(name), f"constraint {name}"
        bad: Level = "error" if constraint.hard else "warning"
        limit = f"{constraint.bound} ({'hard' if constraint.hard else 'soft: only recorded'})"
        if value is None:
            printed = constraint.kind == "printed"
            what = "not found in the output of the untouched files" if printed else "not measured"
            yield CheckFinding(bad, clause, f"{what}; {limit}", "correct its pattern or key" if printed else "")
        elif constraint.is_broken(value):
            hint = "correct its limit" + (", or set hard = false" if constraint.hard else "")
            yield CheckFinding(bad, clause, f"{constraint.amount(value)}: the untouched files break it; {limit}", hint)
        else:
            yield CheckFinding("ok", clause, f"{constraint.amount(value)}; {limit}")


def edit_findings(task: Task) -> Iterator[CheckFinding]:
    """An error for each declared edit that does not apply, or reads back as another one; else one with their number."""
    before, errors = task.edits.config(task.baseline()), 0
    edits = task.declared_edits()
    for edit, _ in edits:
        try:
            source = task.edits.apply(task.baseline(), edit)
            if task.edits.between(before, task.edits.config(source)) == edit:
                continue
            message, hint = "applied, it reads as another edit", "check its find and with"
        except EditError as error:
            message, hint = error.message, error.hint
        errors += 1
        yield CheckFinding("error", "edits", f"{edit.label()}: {message}", hint)
    if not edits:
        message = "none declared: only a researcher with a language model can edit"
        yield CheckFinding("warning", "edits", message, "[edits.NAME] in task.toml, or --set values=… at init")
    elif not errors:
        yield CheckFinding("ok", "edits", f"{len(edits)} declared edits apply (not run)")


NAME = "check.json"


def _of(task: Task) -> dict[str, str]:
    """What a check is about: a task's id does not cover its editable files, and says nothing of the machine."""
    return {"task": task.task_id, "source": task.baseline().source_id, "hardware": hardware_class(task.device)}


def read(task: Task, *, anywhere: bool = False) -> list[CheckFinding] | None:
    """The findings of the last check; None without one of this task, these files and this kind of machine, or
    ``anywhere``."""
    try:
        record = json_value(read_inside(task.folder, NAME))
        known = all(record[name] == value or (anywhere and name == "hardware") for name, value in _of(task).items())
        return [CheckFinding(**one) for one in record["findings"]] if known else None
    except (OSError, ValueError, TypeError, KeyError, Corrupt):
        return None


def measured(task: Task) -> dict[str, float]:
    """What the last check measured of the untouched files, in the metric's unit; empty without one. ``metric``: of one
    training; ``seed_sd``: SD between training seeds; ``step``, ``gain``: of the values of rows, as in `Resolution`."""
    return {name: value for finding in read(task) or () for name, value in finding.measured.items()}


def write(task: Task, findings: list[CheckFinding]) -> None:
    """Store the findings; where the folder cannot be written, the next check tests again."""
    record = {**_of(task), "findings": [asdict(one) for one in findings]}
    with suppress(OSError):
        write_private(task.folder / NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
