"""The law of a task as the experiments of a study show it: the mixed model's effects, pairs and noise, and what always
fails. A search on the simulated task that has this law costs no device time; what it finds must be tried on the task
itself (`metaloop task init --fitted`)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from analysis.credit import Key, canonical
from analysis.edit_effects import edit_effects
from analysis.scope import Scope
from programs.errors import NotComparable
from trainer.law import Change, Law
from trainer.task import Task

if TYPE_CHECKING:
    import duckdb

LEAST_EXPERIMENTS = 40
FAILED = """
SELECT lower(knob), value_json FROM edits WHERE task = ? AND single
GROUP BY ALL HAVING count(*) >= 2 AND bool_and(status <> 'ok') ORDER BY ALL
"""
LEVELS = "SELECT avg(metric ORDER BY seed) FROM baselines WHERE task = ? AND status = 'ok'"


def fitted_law(con: duckdb.DuckDBPyConnection, task: Task) -> Law:
    """From an open study with computed views. Effects are drawn towards 0 as far as they are uncertain; a value that
    was never tried has none. Raises NotComparable where too few experiments ran."""
    effects = edit_effects(Scope(con, task.name))
    fitted = effects.fitted
    [(level,)] = con.execute(LEVELS, [task.name]).fetchall()
    if fitted is None or level is None or len(effects.parent) < LEAST_EXPERIMENTS:
        raise NotComparable(
            f"{len(effects.parent)} experiments on {task.name} are too few to fit a model (of {LEAST_EXPERIMENTS})",
            hint=f"metaloop match stock -n 6 -t {task.name}",
        )
    known = {name: change for name in effects.column if (change := change_of(task, name))}
    columns = {effects.column[name]: change for name, change in known.items()}
    pairs = {
        (columns[a], columns[b]): float(fitted.mean[column] * fitted.scale)
        for (a, b), column in fitted.pairs.items()
        if a in columns and b in columns
    }
    failed = [(knob, canonical(json.loads(value))) for knob, value in con.execute(FAILED, [task.name]).fetchall()]
    edits = effects.edits()
    return Law(
        before=task.edits.config(task.baseline()),
        effects={change: edits[name].mean for name, change in known.items()},
        interactions=pairs,
        crashes=frozenset(change for name in failed if (change := change_of(task, name))),
        metric=level,
        sign=task.sign,
        noise=math.sqrt(fitted.noise) * fitted.scale,
    )


def change_of(task: Task, key: Key) -> Change | None:
    """The knob of the task and its value; None for the untouched script's own, and where no knob describes it."""
    name, text = key
    knob = next((knob for knob in task.edits.knobs if knob.name.lower() == name), None)
    value = json.loads(text)
    if knob is not None and knob.kind != "patch":
        value = knob.legal(value)
    if knob is None or value is None or task.edits.config(task.baseline()).get(knob.name) == value:
        return None
    return knob.name, value
