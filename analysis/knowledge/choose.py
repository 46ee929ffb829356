"""A list of ideas learnt over many tasks: each idea is chosen for what it adds to those before it.

`TaskValues` predicts, for one task, the score of a script by its values of roles: an additive model of all effects that
the knowledge base has of the task, with the optimizer and its rate as one role. `choose` then plays a list on all tasks
at once: each idea is tried where its condition holds and kept where the model gains. The next idea is the one that adds
most per experiment that it costs. Families count alike, whatever number of tasks each has.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.knowledge.store import Effect
from trainer.edits import Value
from trainer.values.conditional import compares

Config = Mapping[str, Value]
Tried = tuple[Config, float] | None  # the edit that an idea is on a script, and what it adds; None: no experiment
JOINT = ("optimizer", "learning_rate")  # which rate is good depends on the optimizer
FAILED = -0.5  # share of the reach that a failed experiment counts as
BEST = 1.2  # largest share that counts
RIDGE = 0.5  # experiments that say "no effect", of each value
LEAST_GAIN = 0.004  # share of the reach, mean over tasks, below which an idea is not written
MOST_IDEAS = 40
MOST_VALUES = 40  # of one role that are tried: pairs of choices become ideas
LEAST_COST = 0.15  # share of the tasks that an idea is counted as tried on, at least


@dataclass(frozen=True)
class TaskValues:
    """What values of roles are worth on one task, in shares of its reach.

    ``start``: the untouched script. ``worth``: for each group of roles (one, or `JOINT`), what each value adds.
    """

    family: str
    task: str
    start: Config
    worth: Mapping[tuple[str, ...], Mapping[tuple[Value, ...], float]]

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        return {role: group for group in self.worth for role in group}

    def gain(self, config: Config, edit: Config) -> float | None:
        """What an edit adds to a script; None if the task lacks a role of it, or was never seen with such a value."""
        total = 0.0
        for group in {self.groups.get(role) for role in edit}:
            if group is None:
                return None
            now = self._worth(group, tuple(config[role] for role in group))
            then = self._worth(group, tuple(edit.get(role, config[role]) for role in group))
            if then is None:
                return None
            total += then - (now or 0.0)
        return total

    @cached_property
    def _interpolated(self) -> dict[tuple[tuple[str, ...], tuple[Value, ...]], float | None]:
        return {}

    def _worth(self, group: tuple[str, ...], values: tuple[Value, ...]) -> float | None:
        if values in self.worth[group]:
            return self.worth[group][values]
        if (group, values) not in self._interpolated:
            self._interpolated[group, values] = self._between(group, values)
        return self._interpolated[group, values]

    def _between(self, group: tuple[str, ...], values: tuple[Value, ...]) -> float | None:
        """Between two numbers that were tried, a straight line over their logarithms; nothing beyond the last ones."""
        known = self.worth[group]
        *rest, last = values
        if isinstance(last, bool | str):
            return None
        numbers = {float(key[-1]): worth for key, worth in known.items()
                   if list(key[:-1]) == rest and not isinstance(key[-1], bool | str)}  # fmt: skip
        rungs = sorted(numbers)
        if len(rungs) < 2 or not rungs[0] <= last <= rungs[-1]:
            return None
        smallest = min((rung for rung in rungs if rung > 0), default=1.0)
        scale = [math.log(max(rung, smallest / 3)) for rung in (*rungs, last)]
        return float(np.interp(scale[-1], scale[:-1], [numbers[rung] for rung in rungs]))


def task_values(effects: Iterable[Effect]) -> list[TaskValues]:
    """The model of each task, in the order of family and task."""
    by_task: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        by_task[effect.family, effect.task, effect.task_id].append(effect)
    return [_fitted(family, task, by_task[family, task, key]) for family, task, key in sorted(by_task)]


def _fitted(family: str, task: str, effects: Sequence[Effect]) -> TaskValues:
    """An additive model by ridge regression. Scripts without one of the untouched script's roles are left out."""
    start = min(effects, key=lambda effect: (bool(effect.edit), abs(effect.level))).context
    joined = all(role in start for role in JOINT)
    groups = [(role,) for role in start if not (joined and role in JOINT)] + [JOINT] * joined
    columns: dict[tuple[tuple[str, ...], tuple[Value, ...]], int] = {}
    lines, shares, weights = [], [], []
    for effect in effects:
        config = {**effect.context, **effect.edit}
        if not start.keys() <= config.keys():
            continue
        lines.append(
            [columns.setdefault((group, tuple(config[role] for role in group)), len(columns)) for group in groups]
        )
        share = FAILED if effect.gain is None else effect.level + effect.gain
        shares.append(min(BEST, max(FAILED, share)))
        weights.append(float(effect.n))
    design = np.zeros((len(lines), len(columns) + 1))
    design[:, -1] = 1.0
    for row, line in enumerate(lines):
        design[row, line] = 1.0
    weighted = design * np.array(weights)[:, None]
    penalty = np.diag([RIDGE] * len(columns) + [0.0])
    worth = np.linalg.solve(weighted.T @ design + penalty, weighted.T @ np.array(shares))
    table: dict[tuple[str, ...], dict[tuple[Value, ...], float]] = {group: {} for group in groups}
    for (group, values), column in columns.items():
        table[group][values] = float(worth[column])
    return TaskValues(family, task, start, table)


@dataclass(frozen=True)
class RoleCondition:
    """``role`` compared with ``value``: <, > or ==."""

    role: str
    sign: str
    value: Value

    def holds(self, config: Config) -> bool:
        now = config.get(self.role)
        return now is not None and compares(now, self.sign, self.value)


@dataclass(frozen=True, eq=False)
class Candidate:
    """An idea that may be chosen. ``optional``: what a task lacks is left out."""

    edit: Config
    conditions: tuple[RoleCondition, ...] = ()
    optional: bool = False

    @cached_property
    def roles(self) -> frozenset[str]:
        """Those on which it depends; an optimizer and its rate are worth what they are together."""
        edited_roles = {*self.edit, *(condition.role for condition in self.conditions)}
        return frozenset(edited_roles | set(JOINT) if edited_roles & set(JOINT) else edited_roles)

    def on(self, task: TaskValues, config: Config) -> Tried:
        """The edit that it is on this script, with what the model expects; None where it asks for nothing."""
        if not all(condition.holds(config) for condition in self.conditions):
            return None
        wanted = self._possible(task, config) if self.optional else self.edit
        edit = {role: value for role, value in wanted.items() if config.get(role) != value}
        gain = task.gain(config, edit) if edit else None
        return (edit, gain) if gain is not None else None

    def _possible(self, task: TaskValues, config: Config) -> Config:
        """Without what the task lacks; an optimizer's rate goes with the optimizer."""
        joint = {role: value for role, value in self.edit.items() if role in JOINT}
        alone = [{role: value} for role, value in self.edit.items() if role not in JOINT]
        known = [part for part in (joint, *alone) if part and task.gain(config, part) is not None]
        return {role: value for part in known for role, value in part.items()}


@dataclass(frozen=True)
class LearntIdea:
    """An idea of the list. ``gain``: share of the reach that it adds to the ideas before it, mean over the tasks where
    it would be tried; ``helped`` of these ``tried`` tasks gain by it. All by the models of the tasks.
    """

    candidate: Candidate
    gain: float
    helped: int
    tried: int
    families: tuple[str, ...]


class _Played:
    """Where the list has led each task so far."""

    def __init__(self, tasks: Sequence[TaskValues]) -> None:
        self.tasks = tasks
        self.configs = [dict(task.start) for task in tasks]
        sizes = Counter(task.family for task in tasks)
        self.weights = np.array([1.0 / sizes[task.family] / len(sizes) for task in tasks])

    def try_(self, candidate: Candidate) -> list[Tried]:
        return [candidate.on(task, config) for task, config in zip(self.tasks, self.configs, strict=True)]

    def added(self, tried: Sequence[Tried]) -> tuple[float, float]:
        """What it adds, kept only where it helps, and the share of the tasks where it costs an experiment."""
        gains = np.array([max(0.0, gain[1]) if gain else 0.0 for gain in tried])
        costs = np.array([gain is not None for gain in tried])
        return float(self.weights @ gains), float(self.weights @ costs)

    def make(self, pool: dict[Candidate, list[Tried]], chosen: Candidate, *, anyhow: bool = False) -> None:
        """Makes the edit of ``chosen`` on each task where it helps (``anyhow``: where it can be made), takes it out of
        the pool, and tries those again that depend on the roles that changed."""
        changed: dict[int, set[str]] = {}
        for number, option in enumerate(pool.pop(chosen)):
            if option and (anyhow or option[1] > 0):
                self.configs[number].update(option[0])
                changed[number] = set(option[0])
        for candidate, tried in pool.items():
            for number, roles in changed.items():
                if not roles.isdisjoint(candidate.roles):
                    tried[number] = candidate.on(self.tasks[number], self.configs[number])


def choose(tasks: Sequence[TaskValues], *, conditions: bool = True, bundle: bool = True) -> list[LearntIdea]:
    """The list, at most MOST_IDEAS. Without ``conditions`` the same ideas hold everywhere (flat)."""
    played, chosen = _Played(tasks), list[LearntIdea]()
    if bundle and (first := _bundle(tasks)) is not None:
        together = {first: played.try_(first)}
        chosen.append(_learnt(first, together[first], tasks))
        played.make(together, first)
    pool = {candidate: played.try_(candidate) for candidate in _pool(tasks, conditions)}
    while len(chosen) < MOST_IDEAS:
        best, value = None, 0.0
        for candidate, tried in pool.items():
            added, cost = played.added(tried)
            if added >= LEAST_GAIN and added / max(cost, LEAST_COST) > value:
                best, value = candidate, added / max(cost, LEAST_COST)
        if best is None:
            break
        chosen.append(_learnt(best, pool[best], tasks))
        played.make(pool, best)
    return chosen


def _learnt(candidate: Candidate, tried: Sequence[Tried], tasks: Sequence[TaskValues]) -> LearntIdea:
    gains = [tried_gain[1] for tried_gain in tried if tried_gain]
    families = sorted(
        {task.family for task, tried_gain in zip(tasks, tried, strict=True) if tried_gain and tried_gain[1] > 0}
    )
    mean = float(np.mean(gains)) if gains else 0.0
    return LearntIdea(candidate, mean, sum(gain > 0 for gain in gains), len(gains), tuple(families))


def _bundle(tasks: Sequence[TaskValues]) -> Candidate | None:
    """The values of many roles at once whose mean gain is largest; a task leaves out what it lacks.

    A value joins while what it adds is above zero by one standard error over the tasks, if most families know it.
    """
    edit: dict[str, Value] = {}
    played = _Played(tasks)
    known = [candidate for candidate in _pool(tasks, conditions=False) if _widely_known(candidate.edit, tasks)]
    pool = {candidate: played.try_(candidate) for candidate in known}
    while pool:
        gains = {candidate: np.array([gain[1] if gain else 0.0 for gain in tried]) for candidate, tried in pool.items()}
        sure = {candidate: float(played.weights @ more) - _error(more) for candidate, more in gains.items()}
        best = max(sure, key=lambda one: sure[one])
        if sure[best] < LEAST_GAIN:
            break
        edit.update(best.edit)
        played.make(pool, best, anyhow=True)
    return Candidate(edit, (), True) if len(edit) > 1 else None


def _widely_known(edit: Config, tasks: Sequence[TaskValues]) -> bool:
    """Whether more than half of the families that have its roles know its values: others will, too."""
    able = [task for task in tasks if all(role in task.start for role in edit)]
    knowing = {task.family for task in able if task.gain(task.start, edit) is not None}
    return 2 * len(knowing) > len({task.family for task in able})


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of their mean; unknown from a single task."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def _pool(tasks: Sequence[TaskValues], conditions: bool) -> list[Candidate]:
    """Every value of every role that was tried on some task, of each the ``MOST_VALUES`` that most tasks know; with
    conditions, also only from below or above a number, and only from one choice."""
    known: dict[tuple[str, ...], Counter[tuple[Value, ...]]] = defaultdict(Counter)
    for task in tasks:
        for group, worth in task.worth.items():
            known[group].update(new for new in worth if new[-1] is not False)  # a patch cannot be taken off
    values = {
        group: sorted(counts, key=lambda new: (-counts[new], str(new)))[:MOST_VALUES] for group, counts in known.items()
    }
    pool: list[Candidate] = []
    for group in sorted(values):
        for new in sorted(values[group], key=str):
            edit = dict(zip(group, new, strict=True))
            pool.append(Candidate(edit))
            if conditions:
                pool += [Candidate(kept, when) for kept, when in _conditional(group, new, values[group])]
    return pool


def _conditional(
    group: tuple[str, ...], new: tuple[Value, ...], values: Iterable[tuple[Value, ...]]
) -> Iterator[tuple[Config, tuple[RoleCondition, ...]]]:
    """A number only from below or above it, a rate only under its optimizer, a choice only from one other choice."""
    last = new[-1]
    if isinstance(last, bool):
        return
    if not isinstance(last, str):
        under = tuple(RoleCondition(role, "==", value) for role, value in zip(group[:-1], new[:-1], strict=True))
        for sign in "<>":
            yield {group[-1]: last}, (*under, RoleCondition(group[-1], sign, last))
        return
    for old in sorted(values, key=str):
        if old != new:
            yield {group[0]: last}, (RoleCondition(group[0], "==", old[0]),)
