"""Novelty by behaviour: a child that behaves like an earlier program gets no device time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.behaviour import behaviour_id
from programs.ids import content_id
from programs.program import Program
from trainer.task import Task


class Novelty:
    """The behaviours that a study has seen, each with the first program that had it.

    On several tasks, programs behave alike only if they do so on each task.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.seen: dict[str, str] = {}

    def meet(self, program: Program) -> str | None:
        """Record the behaviour of a program; returns the id of the first program that had it, None if it is new."""
        behaviour = self.behaviour(program)
        first = self.seen.get(behaviour)
        self.seen.setdefault(behaviour, program.program_id)
        return first

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)


def novelty_on(tasks: Iterable[TaskStudy]) -> Novelty:
    played = list(tasks)
    return Novelty([on.task for on in played], played[0].study.config.researcher)


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    novelty = novelty_on(tasks)
    return novelty.behaviour(one) != novelty.behaviour(other)
