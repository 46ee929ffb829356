"""Novelty by behaviour: a child that would do what a program before it did gets no device time."""

from __future__ import annotations

from collections.abc import Sequence

from arena.task_set import TaskSet
from inner_loop.behaviour import behaviour_id
from programs.ids import content_id
from programs.program import Program
from trainer.task import Task


class Novelty:
    """Remembers which behaviours a study has seen, by the first program that had each.

    On several tasks programs behave alike where they do so on each of them: one that differs on a single task is run.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.seen: dict[str, str] = {}

    def meet(self, program: Program) -> str | None:
        """The id of the first program (maybe this one) with this behaviour; None: it is new, and remembered now."""
        behaviour = self.behaviour(program)
        first = self.seen.get(behaviour)
        self.seen.setdefault(behaviour, program.program_id)
        return first

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)


def novelty_on(tasks: TaskSet) -> Novelty:
    return Novelty(tasks.tasks, tasks.study.config.researcher)


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    novelty = novelty_on(tasks)
    return novelty.behaviour(one) != novelty.behaviour(other)
