"""The evidence of a study over several tasks: of each task in a common unit, and the mean over them.

The mean of an edit is over the tasks on which it was tried. A program needs runs on all tasks. Rows of the mean list
the ids of the averaged rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.effects.rows import (
    CreditEstimate,
    DirectiveCredit,
    EditCredit,
    MutationCredit,
    Value,
    corrected,
)
from analysis.report.evidence import Evidence, ProgramScore
from analysis.scales import UNIT, GainScale
from analysis.statistics import ErrorEstimate, interval, mean_over_tasks, t_test
from trainer.values.constants import is_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound=CreditEstimate)
Item = TypeVar("Item", bound="DataclassInstance")
GAINS = ("estimate", "se", "low", "high", "shrunk", "shrunk_se", "mean", "sd", "shrunk_mean", "claimed")
COUNTS = ("failures", "runs", "device_seconds", "runs_held")
Parts = Sequence[Evidence]


def over_tasks(parts: Parts, scales: Sequence[GainScale]) -> Evidence:
    """The mean over tasks of each one's evidence divided by its scale, with the divided parts."""
    divided = tuple(scaled(part, scale) for part, scale in zip(parts, scales, strict=True))
    task = ", ".join(part.task for part in divided)
    edits = corrected([_mean(same, task) for same in _alike(divided, lambda p: p.edits, _change)])
    directives = corrected(
        [_mean(same, task) for same in _alike(divided, lambda p: p.directives, lambda d: d.directive_id)]
    )
    mutations = corrected([_mean(same, task) for same in _alike(divided, lambda p: p.mutations, lambda m: m.child_id)])
    return Evidence(
        task=task,
        unit=UNIT,
        edits=tuple(sorted(edits, key=lambda e: (-e.score, e.credit_id))),
        directives=tuple(sorted(directives, key=lambda d: (-d.estimate, d.directive_id))),
        mutations=tuple(sorted(mutations, key=lambda m: (-m.estimate, m.child_id))),
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
    known = {name: getattr(item, name, None) for name in GAINS}
    figures: dict[str, Any] = {name: value / size for name, value in known.items() if value is not None}
    if isinstance(item, CreditEstimate):
        figures["unit"] = UNIT
    return replace(item, **figures)


def _alike(parts: Parts, rows: Callable[[Evidence], Iterable[Row]], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Groups the rows of the parts by key, in order of first appearance."""
    groups: dict[Hashable, list[Row]] = {}
    for part in parts:
        for row in rows(part):
            groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _change(edit: EditCredit) -> tuple[str, Value]:
    """2 and 2.0 are one value."""
    text = f"{float(edit.value):.6g}" if is_number(edit.value) else str(edit.value).casefold()
    return edit.knob.casefold(), text


def _mean(rows: Sequence[Row], task: str) -> Row:
    """The mean of independent rows, with its SE and p, and the weakest design. An edit's is over the tasks on which it
    ran; without interval and p where those of a row are unknown."""
    if len(rows) == 1:
        return rows[0]
    ran = [row for row in rows if getattr(row, "is_measured", True)] or rows
    first = next((row for row in ran if not getattr(row, "is_isolated", True)), ran[0])
    estimate, se, df, _ = mean_over_tasks([(ErrorEstimate(row.estimate, row.se, row.df), 1.0) for row in ran])
    is_known = all(row.p is not None for row in ran)
    low, high = interval(estimate, se, df) if is_known else (None, None)
    designs = {row.design for row in rows}
    more: dict[str, Any] = {name: _sum(rows, name) for name in COUNTS if getattr(first, name, None) is not None}
    if isinstance(first, DirectiveCredit):
        more["program_ids"] = tuple(dict.fromkeys(p for row in rows for p in getattr(row, "program_ids", ())))
    if isinstance(first, MutationCredit):
        shrunk = [(row.shrunk, row.shrunk_se) for row in rows if isinstance(row, MutationCredit)]
        known = [(value, error) for value, error in shrunk if value is not None and error is not None]
        more["shrunk"], more["shrunk_se"] = _average(known) if len(known) == len(rows) else (None, None)
    return replace(
        first,
        task=task,
        estimate=estimate,
        se=se,
        low=low,
        high=high,
        n=sum(row.n for row in rows),
        df=df,
        p=t_test(estimate, se, df) if is_known else None,
        design="observational" if "observational" in designs else first.design if len(designs) == 1 else "paired",
        of=tuple(row.credit_id for row in rows),
        **more,
    )


def _sum(rows: Sequence[Row], name: str) -> float:
    values = [getattr(row, name) for row in rows]
    return math.fsum(values) if isinstance(values[0], float) else sum(values)


def _average(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(mean, its standard error) of independent values with a standard error each."""
    mean = math.fsum(value for value, _ in values) / len(values)
    return mean, math.sqrt(math.fsum(se * se for _, se in values)) / len(values)


def _programs(parts: Parts, task: str) -> list[ProgramScore]:
    """Programs that ran on every task: means over the tasks of their independent scores."""
    by_task = [{score.program_id: score for score in part.programs} for part in parts]
    scores = [
        _score([scores[program_id] for scores in by_task], task)
        for program_id in by_task[0]
        if all(program_id in scores for scores in by_task)
    ]
    return sorted(scores, key=lambda s: (-s.shrunk_mean, -s.mean, s.program_id))


def _score(scores: list[ProgramScore], task: str) -> ProgramScore:
    """The mean over tasks."""
    mean, se = _average([(s.mean, s.se) for s in scores])
    over = mean_over_tasks([(ErrorEstimate(s.mean, s.se, s.df), 1.0) for s in scores])
    low, high = interval(mean, se, over.df)
    shrunk, shrunk_se = _average([(s.shrunk_mean, s.shrunk_se) for s in scores])
    claims = [s.claimed for s in scores if s.claimed is not None]
    return replace(
        scores[0],
        task=task,
        mean=mean,
        se=se,
        df=over.df,
        n=min(s.n for s in scores),
        low=low,
        high=high,
        shrunk_mean=shrunk,
        shrunk_se=shrunk_se,
        claimed=math.fsum(claims) / len(claims) if len(claims) == len(scores) else None,
        tasks=tuple(scores),
    )
