"""Novelty: a child that behaves like an earlier program gets no device time, nor one that says the same in other words.

Words decide only where a model reads them. Two programs say the same if they have as many statements and each says what
its counterpart says: the same numbers, names in backticks and negations, and mostly the same words, in any order unless
one of them speaks of an order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.behaviour import behaviour_id
from programs.directives import ORDER
from programs.ids import content_id
from programs.program import Program
from trainer.task import Task

ALIKE = 0.7  # share of the words of two statements that both have, from which they say the same
_EXACT = re.compile(
    r"`[^`]*`|[\d.]*\d%?|\b(?:not?|never|nor|none|without|unless|except|only|least|most|less|more|few|many|any|all|each"
    r"|every|both|half|third|quarter|once|twice|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)\b"
)
_ORDERED = re.compile(r"\b(?:before|after|then|than|instead|over|until|while)\b")
_WORD = re.compile(r"[^\W\d_]{3,}")


class StatementWords:
    """What a statement is compared by. ``exact``: what has to be the same, in its order."""

    def __init__(self, kind: str, text: str) -> None:
        lower = text.lower()
        words = [word[:4] for word in _WORD.findall(lower)]  # keep, keeps and keeping are one
        self.exact = (kind, text) if kind == "charter" else (kind, *_EXACT.findall(lower))
        self.exact += tuple(words) if _ORDERED.search(lower) else ()
        self.words = frozenset(words)

    def says(self, other: StatementWords) -> bool:
        both = len(self.words & other.words)
        return self.exact == other.exact and both >= ALIKE * len(self.words | other.words)


class Novelty:
    """The behaviours that a study has seen, each with the first program that had it.

    On several tasks, programs behave alike only if they do so on each task.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.seen: dict[str, str] = {}
        self._said: dict[str, list[StatementWords]] = {}

    def meet(self, program: Program) -> str | None:
        """Record the behaviour of a program; returns the id of the first program that had it, None if it is new."""
        behaviour = self.behaviour(program)
        first = self.seen.get(behaviour)
        self.seen.setdefault(behaviour, program.program_id)
        if self.researcher != "scripted":
            self._said.setdefault(program.program_id, _statements(program))
        return first

    def reworded(self, program: Program) -> str | None:
        """The id of a program met before that says the same to a model in other words."""
        own = _statements(program) if self._said else []
        return next((known for known, said in self._said.items() if _same(own, said)), None)

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)


def _statements(program: Program) -> list[StatementWords]:
    return [StatementWords(d.kind, d.text) for d in program.directives if d.kind != ORDER]


def _same(one: Sequence[StatementWords], other: Sequence[StatementWords]) -> bool:
    return len(one) == len(other) and all(a.says(b) for a, b in zip(one, other, strict=True))


def novelty_on(tasks: Iterable[TaskStudy]) -> Novelty:
    played = list(tasks)
    return Novelty([on.task for on in played], played[0].study.config.researcher)


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    novelty = novelty_on(tasks)
    return novelty.behaviour(one) != novelty.behaviour(other)
