"""The effect of single changes of the source on the metric, from all experiments of a task; it orders a program's
ideas.

A row is the effect of a change on the untouched source, given that the script runs: the posterior of the mixed model
(`analysis.effects.mixed_model`), which uses every experiment that ran, not only differences of kept ones. The row also
counts failed tries; a failed try gains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from analysis.effects.experiments import Effects, KnobValue, MethodInput
from analysis.effects.rows import LEAST_RUNS, CreditRow, Key, Value, edit_key, figures, value_text
from analysis.statistics import Estimate
from analysis.views.scope import Scope
from programs.common.ids import content_id


@dataclass(frozen=True)
class EditTries:
    """The tries of one edit (``value_text``: JSON, as one of them wrote it). ``chosen``: not only by the proposer
    `random`."""

    value_text: str
    knob: str
    patch: bool
    tries: int
    runs: int
    failures: int
    chosen: bool
    seconds: float


def make(known: MethodInput) -> list[CreditRow]:
    """One row per (knob, value) that was tried, best `score` first; ``q`` is still missing.

    The untouched source's own value has the effect 0; a value that never ran counts as 0.
    """
    scope, effects = known.scope, known.effects
    answers: dict[Key, Estimate | None] = {**known.answers[0]}
    answers |= {untouched.key: None for untouched in scope.rows("effects/baseline_values", KnobValue)}
    written = scope.rows("effects/edit_values", KnobValue)
    columns = {
        "knobs": [edit.knob for edit in written],
        "texts": [edit.value for edit in written],
        "keys": [json.dumps(edit.key) for edit in written],
    }
    tried = scope.rows("effects/edit_tries", EditTries, **columns)
    credits = [_credit(scope, tries, answers, effects) for tries in tried]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def _credit(scope: Scope, tries: EditTries, answers: Mapping[Key, Estimate | None], effects: Effects) -> CreditRow:
    value: Value = json.loads(tries.value_text)
    key = edit_key(tries.knob, value)
    effect, is_isolated, runs = answers.get(key), True, tries.runs
    if effect:
        seeds, isolated = (int(of[effects.column[key]]) for of in (effects.seeds, effects.isolated))
        is_isolated, runs = isolated >= min(seeds, LEAST_RUNS), min(runs, seeds)
    known = figures(effect or Estimate(0.0 if key in answers else None))
    if not is_isolated:
        known |= {"low": None, "high": None, "p": None}
    return CreditRow(
        credit_id=content_id("c", "edit", scope.task, *key), task=scope.task, method="edit", stream="search",
        **known, n=tries.tries, design="observational" if tries.chosen else "randomised", unit=scope.unit,
        knob=tries.knob, value=value_text(key), constant=value,
        label=f"+{tries.knob}" if tries.patch else f"{key[0]}={value_text(key)}",
        failures=tries.failures, runs=runs, is_isolated=is_isolated, device_seconds=tries.seconds,
    )  # fmt: skip
