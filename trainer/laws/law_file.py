"""Converts [law] of task.toml to a `Law`; checks its edits, which are written as in ideas, against the task's knobs."""

from __future__ import annotations

from pathlib import Path

from trainer import task_file
from trainer.edits import EditSpace, Value
from trainer.laws.law import Change, Law
from trainer.source import Source


def law_of(path: Path, text: str, parsed: task_file.TaskFile, space: EditSpace, baseline: Source) -> Law | None:
    """The law of a simulated task, None for any other. TaskError, file:line, for an edit that the task lacks."""
    section = parsed.law
    if section is None:
        return None
    before = space.config(baseline)

    def change(where: str, term: str) -> Change:
        edit = space.parse_terms([term])
        changes: list[Change] = [] if edit is None else [*edit.set.items(), *((name, True) for name in edit.apply)]
        if len(changes) != 1:
            known = ", ".join(knob.name.lower() for knob in space.knobs)
            task_file.complain(path, text, ("law", where), f"{term!r} is not an edit of this task", f"it has {known}")
        if _same(before.get(changes[0][0]), changes[0][1]):
            message = f"{term!r} is the baseline's own value"
            task_file.complain(path, text, ("law", where), message, "effects are gains over the baseline: remove it")
        return changes[0]

    scalars = section.model_dump(exclude={"effects", "interactions", "crashes"})
    pairs = [
        (change("interactions", a), change("interactions", b), i.gain)
        for i in section.interactions
        for a, b in [i.edits]
    ]
    return Law(
        before=before,
        effects={change("effects", term): gain for term, gain in section.effects.items()},
        interactions={(a, b): gain for a, b, gain in pairs},
        crashes=frozenset(change("crashes", term) for term in section.crashes),
        sign=1.0 if parsed.task.direction == "lower" else -1.0,
        **scalars,
    )


def _same(one: Value | None, other: Value) -> bool:
    return type(one) is type(other) and one == other
