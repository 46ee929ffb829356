"""The effect of single changes of the source on the metric, from all experiments of a task; it orders a program's
ideas.

A row is the effect of a change on the untouched source, given that the script runs: the posterior of the mixed model
(`analysis.effects.mixed_model`), which uses every experiment that ran, not only differences of kept ones. The row also
counts failed tries; a failed try gains nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.effects.experiments import Effects, MethodInput
from analysis.effects.mixed_model import PosteriorEstimate
from analysis.effects.rows import LEAST_RUNS, EditCredit, Key, Value, canonical, plain
from analysis.scope import Scope
from programs.ids import content_id


@dataclass(frozen=True)
class KnobValue:
    """``key``: the knob in lower case. ``value``: in the task's untouched source."""

    key: str
    value: Value


@dataclass(frozen=True)
class EditTries:
    """The tries of one (knob, value), as it was written. ``chosen``: not only by the proposer `random`."""

    key: str
    value_text: str
    knob: str
    patch: bool
    tries: int
    run_ids: list[str]
    failures: int
    chosen: bool
    seconds: float


def make(known: MethodInput) -> list[EditCredit]:
    """One row per (knob, value) that was tried, best `score` first; ``q`` is still missing.

    A value that never ran gets 0 without an interval, and so does the untouched source's own value.
    """
    scope, answers = known.scope, known.effects.edits()
    own = {(row.key, canonical(row.value)) for row in scope.rows("baseline_values", KnobValue)}
    groups: dict[Key, list[EditTries]] = defaultdict(list)  # the same number written in two ways is one value
    for row in scope.rows("edit_tries", EditTries):
        groups[row.key, canonical(json.loads(row.value_text))].append(row)
    credits = [
        _credit(scope, key, rows, None if key in own else answers.get(key), known.effects)
        for key, rows in groups.items()
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def _credit(
    scope: Scope, key: Key, tries: Sequence[EditTries], effect: PosteriorEstimate | None, effects: Effects
) -> EditCredit:
    first, runs = tries[0], len({run for each in tries for run in each.run_ids})
    value: Value = json.loads(first.value_text)
    column = effects.column[key] if effect else 0
    seeds, isolated = (int(of[column]) for of in (effects.seeds, effects.isolated)) if effect else (runs, runs)
    is_isolated = isolated >= min(seeds, LEAST_RUNS)
    known = effect if is_isolated else None
    return EditCredit(
        credit_id=content_id("c", "edit", scope.task, *key), task=scope.task, estimate=effect.mean if effect else 0.0,
        se=effect.sd if effect else None, low=known.low if known else None, high=known.high if known else None,
        n=sum(each.tries for each in tries), q=None, p=known.p if known else None, df=effect.df if effect else 0.0,
        design="observational" if any(each.chosen for each in tries) else "randomised", unit=scope.unit,
        knob=first.knob, value=value, label=f"+{first.knob}" if first.patch else f"{key[0]}={plain(value)}",
        failures=sum(each.failures for each in tries), runs=min(runs, seeds), is_isolated=is_isolated,
        device_seconds=sum(each.seconds for each in tries),
    )  # fmt: skip
