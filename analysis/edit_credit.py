"""What single changes of the source do to the metric, from all experiments of a task; it orders the ideas of a program.

A row is the effect of a change on the untouched source where the script runs: the posterior of the mixed model
(`analysis.mixed_model`), which reads every experiment that ran and not the differences of those that were kept. How
often tries of the change failed is told beside it; a try that fails gains nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from analysis.credit import EditCredit, Key, Value, canonical, plain
from analysis.edit_effects import Effects, edit_effects
from analysis.mixed_model import PosteriorEstimate
from analysis.scope import Scope
from programs.ids import content_id


def edit_credits(scope: Scope, effects: Effects | None = None) -> list[EditCredit]:
    """One row per (knob, value) that was tried, best `score` first; ``q`` is still missing (`credit.settled`).

    A value that never ran has no effect to speak of: 0, without an interval; and so has the untouched source's own.
    """
    known = effects or edit_effects(scope)
    answers = known.edits()
    own = {(row["key"], canonical(row["value"])) for row in scope.rows("baseline_values")}
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)  # the same number written in two ways is one value
    for found in scope.rows("edit_tries"):
        value: Value = json.loads(found["value_text"])
        groups[found["key"], canonical(value)].append(found | {"value": value})
    credits = [
        _credit(scope, key, found, None if key in own else answers.get(key), known) for key, found in groups.items()
    ]
    return sorted(credits, key=lambda c: (-c.score, c.label))


def _credit(
    scope: Scope, key: Key, found: list[dict[str, Any]], told: PosteriorEstimate | None, effects: Effects
) -> EditCredit:
    first, value = found[0], found[0]["value"]
    runs = len({run for each in found for run in each["run_ids"]})
    return EditCredit(
        credit_id=content_id("c", "edit", scope.task, *key),
        task=scope.task,
        estimate=told.mean if told else 0.0,
        se=told.sd if told else None,
        low=told.low if told else None,
        high=told.high if told else None,
        n=sum(each["tries"] for each in found),
        q=None,
        p=told.p if told else None,
        df=told.df if told else 0.0,
        design="observational" if any(each["chosen"] for each in found) else "randomised",
        unit=scope.unit,
        knob=first["knob"],
        value=value,
        label=f"+{first['knob']}" if first["patch"] else f"{key[0]}={plain(value)}",
        failures=sum(each["failures"] for each in found),
        runs=min(runs, int(effects.seeds[effects.column[key]])) if told else runs,
        device_seconds=sum(each["seconds"] for each in found),
    )
