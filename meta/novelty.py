"""Novelty: a child that behaves like an earlier program gets no device time, nor one that says the same in other words.

The wording decides only where a model reads it. Two programs say the same if each statement says what its counterpart
says: the same numbers, names in backticks, negations and directions, and the same meaning according to the study's
embedding model, else mostly the same words. Counterparts stand in the same order, because the order of steps matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.task_set import TaskSet
from arena.task_study import TaskStudy
from inner_loop.behaviour import behaviour_id
from meta.meaning import Meaning, Unanswered
from programs.directives import CHARTER, ORDER
from programs.ids import content_id
from programs.program import Program
from programs.text import word_list
from trainer.task import Task

ALIKE = 0.7  # share of the words of two statements that both have, from which they say the same
_EXACT = re.compile(
    r"`[^`]*`|[\d.]*\d%?|\b(?:not?|never|nor|none|without|unless|except|only|least|most|less|more|few|many|any|all|each"
    r"|every|both|half|third|quarter|once|twice|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)\b"
)
_ORDERED = re.compile(r"\b(?:before|after|then|than|instead|over|until|while)\b")
_WORD = re.compile(r"[^\W\d_]{3,}")
#: Opposites share most other words, and embedding models place them close together.
_UP = word_list("""
    raise raises raised raising increase increases increased increasing grow grows growing higher larger bigger longer
    wider deeper faster stronger large big long high fast strong add adds adding keep keeps kept keeping retain
""")
_DOWN = word_list("""
    lower lowers lowered lowering decrease decreases decreased decreasing reduce reduces reduced reducing shrink shrinks
    shrinking smaller shorter narrower shallower slower weaker small tiny short low slow weak remove removes removing
    discard discards discarded discarding drop drops dropping revert reverts
""")
Table = NDArray[np.float64]
_DIRECTION = {word: way for way, words in (("up", _UP), ("down", _DOWN)) for word in words}


class StatementWords:
    """What a statement is compared by. ``exact``: what has to be the same, in its order."""

    def __init__(self, kind: str, text: str) -> None:
        lower = text.lower()
        known = _WORD.findall(lower)
        words = [word[:4] for word in known]  # keep, keeps and keeping are one
        self.kind, self.text = kind, text
        self.exact = (kind, text) if kind == CHARTER else (kind, *_EXACT.findall(lower))
        self.exact += tuple(_DIRECTION[word] for word in known if word in _DIRECTION)
        order = tuple(_ORDERED.findall(lower))
        self.meant = self.exact + order
        self.in_order = tuple(words) if order else ()
        self.exact += self.in_order
        self.words = frozenset(words)

    def says(self, other: StatementWords) -> bool:
        both = len(self.words & other.words)
        return self.exact == other.exact and both >= ALIKE * len(self.words | other.words)

    def may_mean(self, other: StatementWords) -> bool:
        """Whether an embedding model may decide that both say the same: not of code, and not of the same words in
        another order, where the order counts."""
        turned = self.in_order != other.in_order and sorted(self.in_order) == sorted(other.in_order)
        return self.meant == other.meant and not turned and (self.kind != "code" or self.text == other.text)


@dataclass(frozen=True)
class Resemblance:
    """The earlier program that says most nearly what a child says, and whether that is the same. ``similarity``: of
    the pair of statements that is least alike; None where words were compared."""

    program_id: str
    same: bool = True
    similarity: float | None = None
    judge: str = ""  # the embedding model, and from which similarity on it is the same

    @property
    def refusal(self) -> str:
        """Empty if the child says something else."""
        by = "" if self.similarity is None else f" (similarity {self.similarity:.3f}, {self.judge})"
        return f"says what {self.program_id} says in other words{by}" if self.same else ""

    @property
    def remark(self) -> str:
        return f"the most similar earlier program is {self.program_id}: {self.similarity:.3f}, {self.judge}"


class Novelty:
    """The behaviours that a study has seen, each with the first program that had it.

    On several tasks, programs behave alike only if they do so on each task. ``meaning``: of the study's embedding
    model, if it has one; words decide where that does not answer.
    """

    def __init__(self, tasks: Sequence[Task], researcher: str, meaning: Meaning | None = None) -> None:
        self.tasks = tuple(tasks)
        self.researcher = researcher
        self.meaning = meaning
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

    def reworded(self, program: Program) -> Resemblance | None:
        """The program met before that says the same to a model in other words, or that could according to its numbers
        and names, and does not according to an embedding model. None for a program met before."""
        if not self._said or program.program_id in self._said:
            return None
        own = _statements(program)
        if self.meaning is not None:
            try:
                return self._nearest(self.meaning, program.program_id, own)
            except Unanswered:  # said once; words decide
                pass
        return next((Resemblance(known) for known, said in self._said.items() if _same(own, said)), None)

    def behaviour(self, program: Program) -> str:
        ids = [behaviour_id(program, task, self.researcher) for task in self.tasks]
        return ids[0] if len(ids) == 1 else content_id("b", *ids)

    def _nearest(self, meaning: Meaning, child: str, own: Sequence[StatementWords]) -> Resemblance | None:
        """By meaning. A program is embedded only if numbers, names and equal texts do not decide. Raises Unanswered."""
        resembling: list[Resemblance] = []
        for known, said in self._said.items():
            alike = _alike(own, said)
            similarity = _least(alike)
            if not np.isfinite(similarity):
                continue
            if similarity < 1.0:
                cosines = _vectors(meaning, child, own) @ _vectors(meaning, known, said).T
                similarity = round(_least(np.where(alike == 0.0, np.clip(cosines, 0.0, 1.0), alike)), 6)
            same, judge = similarity >= meaning.same_from, f"{meaning.model}, the same from {meaning.same_from:g}"
            resembling.append(Resemblance(known, same, similarity, judge))
        return max(resembling, key=lambda one: one.similarity or 0.0, default=None)


def _alike(one: Sequence[StatementWords], other: Sequence[StatementWords]) -> Table:
    """For each pair of statements 1 if the text is the same, 0 if its meaning decides, else minus infinity. No rows
    for programs that differ by more than one statement."""
    if abs(len(one) - len(other)) > 1:
        return np.full((len(one), len(other)), -np.inf)
    pairs = [[1.0 if a.text == b.text else 0.0 if a.may_mean(b) else -np.inf for b in other] for a in one]
    return np.array(pairs, dtype=np.float64).reshape(len(one), len(other))


def _least(alike: Table) -> float:
    """The likeness of the least alike counterparts in the same order. A program may have one statement more if it says
    what another one says."""
    if len(alike) > alike.shape[1]:
        alike = alike.T
    first, second = alike.diagonal(), alike.diagonal(1)
    if len(alike) == alike.shape[1]:
        return float(first.min(initial=1.0))
    beyond = alike.max(axis=0, initial=-np.inf)
    return max(
        float(min(first[:extra].min(initial=1.0), beyond[extra], second[extra:].min(initial=1.0)))
        for extra in range(alike.shape[1])
    )


def _vectors(meaning: Meaning, program_id: str, statements: Sequence[StatementWords]) -> Table:
    """A row for each statement: its vector, zeros for charter fields and code."""
    prose = [n for n, one in enumerate(statements) if one.kind not in (CHARTER, "code")]
    rows = meaning.of(program_id, [statements[n].text for n in prose])
    table = np.zeros((len(statements), rows.shape[1]))
    table[prose] = rows
    return table


def _statements(program: Program) -> list[StatementWords]:
    return [StatementWords(d.kind, d.text) for d in program.directives if d.kind != ORDER]


def _same(one: Sequence[StatementWords], other: Sequence[StatementWords]) -> bool:
    return len(one) == len(other) and all(a.says(b) for a, b in zip(one, other, strict=True))


def novelty_on(tasks: Iterable[TaskStudy], meaning: Meaning | None = None) -> Novelty:
    played = list(tasks)
    return Novelty([on.task for on in played], played[0].study.config.researcher, meaning)


def differ(tasks: TaskSet, one: Program, other: Program) -> bool:
    """Whether two programs behave differently on any of the tasks."""
    novelty = novelty_on(tasks)
    return novelty.behaviour(one) != novelty.behaviour(other)
