"""The configurations that runs ended with, best first, and what each edit is predicted to add to one of them.

A configuration is the set of edits of a final script against the task's untouched one. Changes of the code that no knob
describes make a configuration of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from analysis.statistics import mean_interval, posterior

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.effects.experiments import Effects
    from analysis.effects.rows import Key
    from analysis.views.scope import Scope


@dataclass(frozen=True)
class FinalRun:
    """``run``: its place in `run_starts`; ``number``: of the experiment that it ended with."""

    run_id: str
    run: int
    number: int
    gain: float


@dataclass(frozen=True)
class FinalScript:
    """``columns``: of the model, for its edits and its changes of the code. Mean and SD are posterior, over all
    configurations, so that one lucky run is not the best one."""

    edits: tuple[Key, ...]
    columns: tuple[int, ...]
    run_ids: tuple[str, ...]  # best gain first
    mean: float
    sd: float

    @property
    def code(self) -> int:
        """The number of its changes of the code."""
        return len(self.columns) - len(self.edits)

    @property
    def n(self) -> int:
        return len(self.run_ids)


@dataclass(frozen=True)
class OnTop:
    """One edit in a configuration, where it replaces another value of its knob. ``tried``: experiments of both."""

    key: Key
    mean: float
    sd: float
    tried: int


def final_scripts(scope: Scope, effects: Effects) -> list[FinalScript]:
    """Every configuration that a verified run ended with, the untouched script excluded, best posterior mean first."""
    import numpy as np

    rows = scope.rows("effects/final_scripts", FinalRun)
    if not rows or effects.fitted is None:
        return []
    at = effects.finder.positions(np.array([row.run for row in rows]), np.array([row.number for row in rows]))
    groups: dict[tuple[int, ...], list[FinalRun]] = defaultdict(list)
    for row, group in zip(rows, at.tolist(), strict=True):
        if group >= 0 and (columns := tuple(sorted(effects.held[[group]].indices.tolist()))):
            groups[columns].append(row)
    scores = posterior([mean_interval([row.gain for row in runs]) for runs in groups.values()])
    names = {column: key for key, column in effects.column.items()}
    scripts = [
        FinalScript(
            edits=tuple(names[column] for column in columns if column in names),
            columns=columns,
            run_ids=tuple(run.run_id for run in sorted(runs, key=lambda run: (-run.gain, run.run_id))),
            mean=score.shrunk.or_zero,
            sd=score.shrunk.se or 0.0,
        )
        for (columns, runs), score in zip(groups.items(), scores, strict=True)
    ]
    return sorted(scripts, key=lambda script: (-script.mean, script.columns))


def on_top(effects: Effects, script: FinalScript) -> list[OnTop]:
    """What each tried edit that the script lacks is predicted to change on top of it, best first."""
    changes = {}
    for key, column in effects.column.items():
        if column not in script.columns:
            changes[key] = [effects.column[edit] for edit in script.edits if edit[0] == key[0]], [column]
    return _predicted(effects, script, changes)


def dispensable(effects: Effects, script: FinalScript) -> list[OnTop]:
    """What leaving out each of its edits is predicted to change, best first."""
    return _predicted(effects, script, {key: ([effects.column[key]], []) for key in script.edits})


def _predicted(
    effects: Effects, script: FinalScript, changes: Mapping[Key, tuple[Sequence[int], Sequence[int]]]
) -> list[OnTop]:
    """Of each change of the script: ``changes`` are the columns that it takes out, and those that it puts in."""
    import numpy as np

    assert effects.fitted is not None
    weights, unseen, tried = [], [], []
    holding = cache(lambda rest: effects.held[:, list(rest)].sum(axis=1) == len(rest))  # [experiments], all of these
    beside = cache(lambda rest: effects.held.T @ holding(rest))  # [columns], experiments that hold this one, too
    for old, new in changes.values():
        rest = tuple(column for column in script.columns if column not in old)
        after, unknown = effects.fitted.weights(new, rest)
        before, missing = effects.fitted.weights(old, rest)
        weights.append(after - before)
        unseen.append(unknown + missing)
        tried.append(int(beside(rest)[new[0]] if new else holding(rest).sum()))
    answers = effects.fitted.answers(np.array(weights), unseen) if weights else []
    rows = [OnTop(key, a.or_zero, a.se or 0.0, n) for key, a, n in zip(changes, answers, tried, strict=True)]
    return sorted(rows, key=lambda row: (-row.mean, row.key))
