"""The evidence of a study over several tasks: of each task in a common unit, and the mean over them.

The mean of an edit is over the tasks on which it was tried. A program needs runs on all tasks. Rows of the mean list
the ids of the averaged rows.

Where the tasks change from stage to stage, programs were run on different ones. They are compared by their lead over
stock on the same tasks, which has the difficulty of the tasks removed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from analysis.credit import CreditEstimate, DirectiveCredit, EditCredit, MutationCredit, NeverFollowed, Value
from analysis.evidence import Evidence, ProgramScore
from analysis.scales import UNIT, GainScale
from analysis.statistics import interval, mean_interval, posterior
from analysis.trust import weakest
from trainer.values.constants import is_number

Row = TypeVar("Row", bound=CreditEstimate)
Parts = Sequence[Evidence]


def over_tasks(parts: Parts, scales: Sequence[GainScale]) -> Evidence:
    """The mean over tasks of each one's evidence divided by its scale, with the divided parts."""
    divided = tuple(scaled(part, scale) for part, scale in zip(parts, scales, strict=True))
    task = ", ".join(part.task for part in divided)
    edits = [_edit(same, task) for same in _alike(divided, lambda p: p.edits, _change)]
    directives = [_directive(same, task) for same in _alike(divided, lambda p: p.directives, lambda d: d.directive_id)]
    mutations = [_mutation(same, task) for same in _alike(divided, lambda p: p.mutations, lambda m: m.child_id)]
    return Evidence(
        task=task,
        unit=UNIT,
        edits=tuple(sorted(edits, key=lambda e: (-e.score, e.credit_id))),
        directives=tuple(sorted(directives, key=lambda d: (-d.estimate, d.directive_id))),
        mutations=tuple(sorted(mutations, key=lambda m: (-m.estimate, m.child_id))),
        programs=tuple(_programs(divided, task)),
        never_followed=tuple(_never(divided)),
        wasted=tuple(waste for part in divided for waste in part.wasted),
        runs=sum(part.runs for part in divided),
        experiments=sum(part.experiments for part in divided),
        device_seconds=math.fsum(part.device_seconds for part in divided),
        trust=weakest(part.trust for part in divided if part.trust),
        parts=divided,
    )


def over_stages(stages: Sequence[Parts], scales: Sequence[Sequence[GainScale]], stock: str) -> Evidence:
    """`over_tasks` where each stage has tasks of its own. ``stock``: id of the program that ran in every stage.

    A program's score is 1 plus the mean of its leads over stock, over all tasks of the stages that it was raced in. Its
    SE is that of the mean over tasks, at least that of the runs.
    """
    parts = [part for stage in stages for part in stage]
    whole = over_tasks(parts, [scale for stage in scales for scale in stage])
    left, leads = list(whole.parts), defaultdict[str, list[tuple[ProgramScore, ProgramScore]]](list)
    runs: Counter[str] = Counter()
    for stage in stages:
        by_task = [{score.program_id: score for score in left.pop(0).programs} for _ in stage]
        for program_id in set.intersection(*(set(scores) for scores in by_task)):
            runs[program_id] += min(scores[program_id].n for scores in by_task)
            leads[program_id] += [(s[program_id], s[stock]) for s in by_task if stock in s]
    programs = [_led(scored, runs[program_id], whole.task) for program_id, scored in sorted(leads.items()) if scored]
    known = posterior(
        [p.mean for p in programs], [p.se for p in programs], [len(leads[p.program_id]) for p in programs]
    )
    shrunk = [
        replace(p, shrunk_mean=score.shrunk_mean, shrunk_se=score.shrunk_se)
        for p, score in zip(programs, known, strict=True)
    ]
    return replace(
        whole, stages=len(stages), programs=tuple(sorted(shrunk, key=lambda s: (-s.shrunk_mean, -s.mean, s.program_id)))
    )


def _led(scored: Sequence[tuple[ProgramScore, ProgramScore]], n: int, task: str) -> ProgramScore:
    """The score from those of the program and of stock on each task."""
    first, count = scored[0][0], len(scored)
    over = mean_interval([1.0 + score.mean - stock.mean for score, stock in scored])
    errors = [s.se**2 + (stock.se**2 if s.program_id != stock.program_id else 0.0) for s, stock in scored]
    of_runs = math.sqrt(math.fsum(errors)) / count
    claims = [score.claimed for score, _ in scored if score.claimed is not None]
    return replace(
        first,
        task=task,
        mean=over.mean or 0.0,
        se=max(over.se or 0.0, of_runs),
        n=n,
        low=over.low,
        high=over.high,
        claimed=math.fsum(claims) / count if len(claims) == count else None,
    )


def scaled(part: Evidence, scale: GainScale) -> Evidence:
    """The same with every gain divided by the scale's size, in units of it."""
    size = scale.size
    return replace(
        part,
        unit=UNIT,
        scale=scale,
        edits=tuple(_by(e, size) for e in part.edits),
        directives=tuple(_by(d, size) for d in part.directives),
        mutations=tuple(
            replace(_by(m, size), shrunk=_over(m.shrunk, size), shrunk_se=_over(m.shrunk_se, size))
            for m in part.mutations
        ),
        programs=tuple(_score_by(s, size) for s in part.programs),
        finals=tuple(replace(s, mean=s.mean / size, sd=s.sd / size) for s in part.finals),
    )


def _by(row: Row, size: float) -> Row:
    unit = row.unit.replace(row.unit.removesuffix(" per device-second"), UNIT)
    figures = {name: _over(getattr(row, name), size) for name in ("estimate", "se", "low", "high")}
    return replace(row, unit=unit, **figures)  # type: ignore[arg-type]


def _over(value: float | None, size: float) -> float | None:
    return None if value is None else value / size


def _score_by(score: ProgramScore, size: float) -> ProgramScore:
    names = ("mean", "se", "shrunk_mean", "shrunk_se", "low", "high", "claimed")
    return replace(score, **{name: _over(getattr(score, name), size) for name in names})  # type: ignore[arg-type]


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


def _mean(rows: Sequence[Row], task: str, freedom: float) -> Row:
    """The mean of independent rows, with its SE, the weakest design and the largest q.

    ``freedom``: degrees of freedom of the SE, summed over the rows.
    """
    first, count = rows[0], len(rows)
    if count == 1:
        return first
    ses = [row.se for row in rows if row.se is not None]
    estimate = math.fsum(row.estimate for row in rows) / count
    se = math.sqrt(math.fsum(s * s for s in ses)) / count if len(ses) == count else None
    qs = [row.q for row in rows if row.q is not None]
    designs = {row.design for row in rows}
    n = sum(row.n for row in rows)
    low, high = interval(estimate, se, freedom)
    return replace(
        first,
        task=task,
        estimate=estimate,
        se=se,
        low=low,
        high=high,
        n=n,
        q=max(qs) if len(qs) == count else None,
        design="observational" if "observational" in designs else first.design if len(designs) == 1 else "paired",
        of=tuple(row.credit_id for row in rows),
    )


def _edit(rows: list[EditCredit], task: str) -> EditCredit:
    return replace(
        _mean(rows, task, sum(row.df for row in rows)),
        failures=sum(row.failures for row in rows),
        runs=sum(row.runs for row in rows),
        device_seconds=math.fsum(row.device_seconds for row in rows),
    )


def _directive(rows: list[DirectiveCredit], task: str) -> DirectiveCredit:
    return replace(
        _mean(rows, task, sum(row.df for row in rows)),
        failures=sum(row.failures for row in rows),
        device_seconds=math.fsum(row.device_seconds for row in rows),
        program_ids=tuple(dict.fromkeys(p for row in rows for p in row.program_ids)),
        runs_held=sum(row.runs_held for row in rows),
        runs_followed=sum(row.runs_followed for row in rows),
    )


def _mutation(rows: list[MutationCredit], task: str) -> MutationCredit:
    shrunk = [row.shrunk for row in rows if row.shrunk is not None]
    errors = [row.shrunk_se for row in rows if row.shrunk_se is not None]
    known = len(shrunk) == len(errors) == len(rows)
    return replace(
        _mean(rows, task, sum(row.n - 1 for row in rows)),
        shrunk=math.fsum(shrunk) / len(rows) if known else None,
        shrunk_se=math.sqrt(math.fsum(e * e for e in errors)) / len(rows) if known else None,
    )


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
    count = len(scores)
    mean, se = math.fsum(s.mean for s in scores) / count, math.sqrt(math.fsum(s.se**2 for s in scores)) / count
    low, high = interval(mean, se, sum(s.n - 1 for s in scores))
    claims = [s.claimed for s in scores if s.claimed is not None]
    return replace(
        scores[0],
        task=task,
        mean=mean,
        se=se,
        n=min(s.n for s in scores),
        low=low,
        high=high,
        shrunk_mean=math.fsum(s.shrunk_mean for s in scores) / count,
        shrunk_se=math.sqrt(math.fsum(s.shrunk_se**2 for s in scores)) / count,
        claimed=math.fsum(claims) / count if len(claims) == count else None,
        tasks=tuple(scores),
    )


def _never(parts: Parts) -> list[NeverFollowed]:
    """The directives that no experiment cited on any of the tasks."""
    cited = {d.directive_id for part in parts for d in part.directives}
    never: dict[str, NeverFollowed] = {}
    for part in parts:
        for item in part.never_followed:
            if item.directive_id not in cited:
                before = never.get(item.directive_id)
                held = item.runs_held + (before.runs_held if before else 0)
                never[item.directive_id] = replace(before or item, runs_held=held)
    return list(never.values())
