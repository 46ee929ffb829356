"""Novelty: a child that behaves like an earlier program gets no device time, nor one that says the same in other words.

The wording decides only where a model reads it. Two programs say the same if each statement says what its counterpart
says: the same numbers, names in backticks, negations and directions, and mostly the same words. Counterparts stand in
the same order, because the order of steps matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.behaviour import behaviour_id
from programs.directives import CHARTER, ORDER
from programs.ids import content_id
from programs.program import Program
from programs.shelf import starter
from programs.text import word_list
from trainer.task import Task

ALIKE = 0.7  # share of the words of two statements that both have, from which they say the same
_EXACT = re.compile(
    r"`[^`]*`|[\d.]*\d%?|\b(?:not?|never|nor|none|without|unless|except|only|least|most|less|more|few|many|any|all|each"
    r"|every|both|half|third|quarter|once|twice|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)\b"
)
_ORDERED = re.compile(r"\b(?:before|after|then|than|instead|over|until|while)\b")
_WORD = re.compile(r"[^\W\d_]{3,}")
#: Opposites share most other words.
_UP = word_list("""
    raise raises raised raising increase increases increased increasing grow grows growing higher larger bigger longer
    wider deeper faster stronger large big long high fast strong add adds adding keep keeps kept keeping retain
""")
_DOWN = word_list("""
    lower lowers lowered lowering decrease decreases decreased decreasing reduce reduces reduced reducing shrink shrinks
    shrinking smaller shorter narrower shallower slower weaker small tiny short low slow weak remove removes removing
    discard discards discarded discarding drop drops dropping revert reverts
""")
_DIRECTION = {word: way for way, words in (("up", _UP), ("down", _DOWN)) for word in words}


class StatementWords:
    """What a statement is compared by. ``exact``: what has to be the same, in its order."""

    def __init__(self, kind: str, text: str) -> None:
        lower = text.lower()
        known = _WORD.findall(lower)
        words = [word[:4] for word in known]  # keep, keeps and keeping are one
        self.exact = (kind, text) if kind == CHARTER else (kind, *_EXACT.findall(lower))
        self.exact += tuple(_DIRECTION[word] for word in known if word in _DIRECTION)
        self.exact += tuple(words) if _ORDERED.search(lower) else ()
        self.words = frozenset(words)

    def says(self, other: StatementWords) -> bool:
        both = len(self.words & other.words)
        return self.exact == other.exact and both >= ALIKE * len(self.words | other.words)


class Novelty:
    """The behaviours that a study has seen, each with the first program that had it.

    On several tasks, programs behave alike only if they do so on each task. ``without``: settings without effect.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str, without: frozenset[str] = frozenset()) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.without = without
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
        """The id of a program met before that says the same in other words to a model; None if it was itself met."""
        if not self._said or program.program_id in self._said:
            return None
        own = _statements(program)
        return next((known for known, said in self._said.items() if _same(own, said)), None)

    def alike(self, one: Program, other: Program) -> bool:
        return self.behaviour(one) == self.behaviour(other)

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher, self.without) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)


def _statements(program: Program) -> list[StatementWords]:
    return [StatementWords(d.kind, d.text) for d in program.directives if d.kind != ORDER]


def _same(one: Sequence[StatementWords], other: Sequence[StatementWords]) -> bool:
    return len(one) == len(other) and all(a.says(b) for a, b in zip(one, other, strict=True))


def novelty_on(tasks: Iterable[TaskStudy]) -> Novelty:
    played = list(tasks)
    return Novelty([on.task for on in played], played[0].study.config.researcher)


def like_stock(program: Program, tasks: Sequence[Task], researcher: str) -> bool:
    """Whether the researcher does the same under a program as under stock, on every task."""
    return Novelty(tasks, researcher).alike(program, starter("stock"))


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    return not novelty_on(tasks).alike(one, other)
