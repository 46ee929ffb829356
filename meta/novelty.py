"""Novelty: a child that behaves like an earlier program gets no device time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arena.study.task_set import TaskSet
from arena.study.task_study import TaskStudy
from inner_loop.behaviour import behaviour_id
from programs.common.ids import content_id
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task


class Novelty:
    """The behaviours that a study has seen, each with the first program that had it.

    On several tasks, programs behave alike only if they do so on each task. ``without``: settings without effect.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str, without: frozenset[str] = frozenset()) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.without = without
        self.seen: dict[str, str] = {}

    def meet(self, program: Program) -> str | None:
        """Record the behaviour of a program; returns the id of the first program that had it, None if it is new."""
        behaviour = self.behaviour(program)
        first = self.seen.get(behaviour)
        self.seen.setdefault(behaviour, program.program_id)
        return first

    def alike(self, one: Program, other: Program) -> bool:
        return self.behaviour(one) == self.behaviour(other)

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher, self.without) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)


def novelty_on(tasks: Iterable[TaskStudy]) -> Novelty:
    played = list(tasks)
    return Novelty([on.task for on in played], played[0].study.config.researcher)


def like_stock(program: Program, tasks: Sequence[Task], researcher: str) -> bool:
    """Whether the researcher does the same under a program as under stock, on every task."""
    return Novelty(tasks, researcher).alike(program, starter("stock"))


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    return not novelty_on(tasks).alike(one, other)
