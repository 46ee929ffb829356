"""Novelty by behaviour: a child that would do what a program before it did gets no device time."""

from __future__ import annotations

from inner_loop.behaviour import behaviour_id
from programs.program import Program
from trainer.task import Task


class Novelty:
    """Remembers which behaviours a study has seen, by the first program that had each."""

    def __init__(self, task: Task, researcher: str) -> None:
        self.task = task
        self.researcher = researcher
        self.seen: dict[str, str] = {}

    def meet(self, program: Program) -> str | None:
        """The id of the first program (maybe this one) with this behaviour; None: it is new, and remembered now."""
        behaviour = behaviour_id(program, self.task, self.researcher)
        first = self.seen.get(behaviour)
        self.seen.setdefault(behaviour, program.program_id)
        return first
