"""The effect of single changes of the source on the metric, from all experiments of a task; it orders a program's
ideas.

A row is the effect of a change on the untouched source, given that the script runs: the posterior of the mixed model
(`analysis.mixed_model`), which uses every experiment that ran, not only differences of kept ones. The row also counts
failed tries; a failed try gains nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from analysis.credit import EditCredit, Key, Value, canonical, plain
from analysis.edit_effects import Effects, edit_effects
from analysis.method_input import MethodInput
from analysis.mixed_model import PosteriorEstimate
from analysis.scope import Scope
from programs.ids import content_id


def edit_credits(scope: Scope, effects: Effects | None = None) -> list[EditCredit]:
    """One row per (knob, value) that was tried, best `score` first; ``q`` is still missing (`credit.settled`).

    A value that never ran gets 0 without an interval, and so does the untouched source's own value.
    """
    known = effects or edit_effects(scope)
    answers = known.edits()
    own = {(row["key"], canonical(row["value"])) for row in scope.rows("baseline_values")}
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)  # the same number written in two ways is one value
    for row_ in scope.rows("edit_tries"):
        value: Value = json.loads(row_["value_text"])
        groups[row_["key"], canonical(value)].append(row_ | {"value": value})
    credits = [
        _credit(scope, key, row_, None if key in own else answers.get(key), known) for key, row_ in groups.items()
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def _credit(
    scope: Scope, key: Key, tries: list[dict[str, Any]], effect: PosteriorEstimate | None, effects: Effects
) -> EditCredit:
    first, value = tries[0], tries[0]["value"]
    runs = len({run for each in tries for run in each["run_ids"]})
    return EditCredit(
        credit_id=content_id("c", "edit", scope.task, *key),
        task=scope.task,
        estimate=effect.mean if effect else 0.0,
        se=effect.sd if effect else None,
        low=effect.low if effect else None,
        high=effect.high if effect else None,
        n=sum(each["tries"] for each in tries),
        q=None,
        p=effect.p if effect else None,
        df=effect.df if effect else 0.0,
        design="observational" if any(each["chosen"] for each in tries) else "randomised",
        unit=scope.unit,
        knob=first["knob"],
        value=value,
        label=f"+{first['knob']}" if first["patch"] else f"{key[0]}={plain(value)}",
        failures=sum(each["failures"] for each in tries),
        runs=min(runs, int(effects.seeds[effects.column[key]])) if effect else runs,
        device_seconds=sum(each["seconds"] for each in tries),
    )


def make(known: MethodInput) -> list[EditCredit]:
    return edit_credits(known.scope, known.effects)
