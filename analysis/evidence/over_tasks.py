"""The evidence of a study over several tasks: of each task in a common unit, and the mean over them.

The mean of an edit is over the tasks on which it was tried. A program needs runs on all tasks. Rows of the mean list
the ids of the averaged rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.effects.rows import CreditRow, corrected, figures
from analysis.evidence.task_evidence import Evidence, ProgramScore
from analysis.statistics import Estimate, mean_over_tasks
from analysis.views.scales import UNIT, GainScale

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item", bound="DataclassInstance")
GAINS = ("estimate", "se", "low", "high", "shrunk", "shrunk_se", "mean", "sd", "gain", "claimed")
COUNTS = ("failures", "runs", "device_seconds", "runs_held")
Parts = Sequence[Evidence]


def over_tasks(parts: Parts, scales: Sequence[GainScale]) -> Evidence:
    """The mean over tasks of each one's evidence divided by its scale, with the divided parts."""
    divided = tuple(scaled(part, scale) for part, scale in zip(parts, scales, strict=True))
    task = ", ".join(part.task for part in divided)
    edits = corrected([_mean(same, task) for same in _alike(divided, lambda p: p.edits, lambda e: e.key)])
    directives = corrected(
        [_mean(same, task) for same in _alike(divided, lambda p: p.directives, lambda d: d.directive_id)]
    )
    mutations = corrected([_mean(same, task) for same in _alike(divided, lambda p: p.mutations, lambda m: m.child_id)])
    return Evidence(
        task=task,
        unit=UNIT,
        edits=tuple(sorted(edits, key=lambda e: (-e.score, e.credit_id))),
        directives=tuple(sorted(directives, key=lambda d: (-d.gain, d.directive_id))),
        mutations=tuple(sorted(mutations, key=lambda m: (-m.gain, m.child_id))),
        programs=tuple(_programs(divided, task)),
        runs=sum(part.runs for part in divided),
        experiments=sum(part.experiments for part in divided),
        parts=divided,
    )


def scaled(part: Evidence, scale: GainScale) -> Evidence:
    """The same with every gain divided by the scale's size, in units of it."""
    return replace(
        part,
        unit=UNIT,
        scale=scale,
        edits=tuple(_by(row, scale.size) for row in part.edits),
        directives=tuple(_by(row, scale.size) for row in part.directives),
        mutations=tuple(_by(row, scale.size) for row in part.mutations),
        programs=tuple(_by(score, scale.size) for score in part.programs),
        finals=tuple(_by(script, scale.size) for script in part.finals),
    )


def _by(item: Item, size: float) -> Item:
    """The same with its gains divided by ``size``."""
    known = {field_.name: getattr(item, field_.name) for field_ in fields(item) if field_.name in GAINS}
    divided: dict[str, Any] = {
        name: value.over(size) if isinstance(value, Estimate) else value / size
        for name, value in known.items()
        if value is not None
    }
    if isinstance(item, CreditRow):
        divided["unit"] = UNIT
    return replace(item, **divided)


def _alike(
    parts: Parts, rows: Callable[[Evidence], Iterable[CreditRow]], key: Callable[[CreditRow], Hashable]
) -> list[list[CreditRow]]:
    """Groups the rows of the parts by key, in order of first appearance."""
    groups: dict[Hashable, list[CreditRow]] = {}
    for part in parts:
        for row in rows(part):
            groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _mean(rows: Sequence[CreditRow], task: str) -> CreditRow:
    """The mean of independent rows, with its SE and p, and the weakest design. An edit's is over the tasks on which it
    ran; without interval and p where those of a row are unknown."""
    if len(rows) == 1:
        return rows[0]
    ran = [row for row in rows if row.estimate is not None]
    first = next((row for row in ran if not row.is_isolated), (ran or rows)[0])
    known = figures(mean_over_tasks([Estimate(row.estimate, row.se, row.df) for row in ran]) if ran else Estimate())
    if any(row.p is None for row in ran):
        known |= {"low": None, "high": None, "p": None}
    designs = {row.design for row in rows}
    more: dict[str, Any] = {name: _sum(rows, name) for name in COUNTS if getattr(first, name) is not None}
    shrunk = Estimate()
    if all(row.shrunk is not None and row.shrunk_se is not None for row in rows):
        shrunk = mean_over_tasks([Estimate(row.shrunk, row.shrunk_se) for row in rows])
    return replace(
        first,
        task=task,
        **known,
        n=sum(row.n for row in rows),
        design="observational" if "observational" in designs else first.design if len(designs) == 1 else "paired",
        of=tuple(row.credit_id for row in rows),
        program_ids=tuple(dict.fromkeys(program_id for row in rows for program_id in row.program_ids)),
        shrunk=shrunk.value,
        shrunk_se=shrunk.se,
        **more,
    )


def _sum(rows: Sequence[CreditRow], name: str) -> float:
    values = [getattr(row, name) for row in rows]
    return math.fsum(values) if isinstance(values[0], float) else sum(values)


def _programs(parts: Parts, task: str) -> list[ProgramScore]:
    """Programs that ran on every task: means over the tasks of their independent scores."""
    by_task = [{score.program_id: score for score in part.programs} for part in parts]
    scores = [
        _score([scores[program_id] for scores in by_task], task)
        for program_id in by_task[0]
        if all(program_id in scores for scores in by_task)
    ]
    return sorted(scores, key=ProgramScore.order)


def _score(scores: list[ProgramScore], task: str) -> ProgramScore:
    """The mean over tasks."""
    claims = [s.claimed for s in scores if s.claimed is not None]
    return replace(
        scores[0],
        task=task,
        gain=mean_over_tasks([s.gain for s in scores]),
        shrunk=mean_over_tasks([s.shrunk for s in scores]),
        claimed=math.fsum(claims) / len(claims) if len(claims) == len(scores) else None,
        tasks=tuple(scores),
    )
