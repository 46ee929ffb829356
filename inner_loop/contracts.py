"""The decisions of a run, a Protocol each: who works, what is tried next, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from inner_loop.record import Record
from programs.ideas import Idea
from trainer.edits import Edit, EditSpace, Knob
from trainer.source import Source

if TYPE_CHECKING:
    import numpy as np

    from inner_loop.bench import Bench


@dataclass(frozen=True)
class Proposal:
    """An edit to try on `Situation.parent`, and the directives that led to it.

    Where an edit is text, `source` is what it makes of the parent, `edit` the known edit that it amounts to, if any.
    """

    edit: Edit
    proposer: str
    because: tuple[str, ...] = ()
    description: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Situation:
    """What a proposer may look at: the source to edit, this run's history, and nothing that costs.

    `knobs` are those in focus that still can change; `allowed` says whether an edit of the parent may be tried
    (it changes something, it is not banned, and under no-repeat it gives a source that was not tried yet),
    `was_tried` whether the parent edited so was tried already.
    """

    space: EditSpace
    knobs: tuple[Knob, ...]
    parent: Record
    history: Sequence[Record]
    sign: float
    allowed: Callable[[Edit], bool]
    was_tried: Callable[[Edit], bool]


@dataclass(frozen=True)
class ProposerStart:
    """What a proposer is made from: the ideas of the program that the task knows, each with its edit, in their order;
    and the directives to cite for what is proposed without an idea."""

    ideas: tuple[tuple[Idea, Edit], ...]
    because: tuple[str, ...]


class Proposer(Protocol):
    """Says what to try next. It sees the history of its own run only and draws from the run's generator only."""

    name: str

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        """An allowed edit of `situation.parent`, or None where this proposer has nothing to offer now."""


@dataclass(frozen=True)
class KeepVerdict:
    """`gain` in metric units, positive when better; None if there was nothing to compare."""

    keep: bool
    reason: str
    gain: float | None = None


class KeepRule(Protocol):
    """Decides between a candidate and its parent, both measured in full; it may buy further experiments."""

    name: str
    #: Full experiments that one judgement may buy.
    extra: int

    def prepare(self, bench: Bench) -> None:
        """Called once after the baseline, before anything else is tried."""

    def judge(self, bench: Bench, candidate: Record, parent: Record, *, earn: float = 0.0) -> KeepVerdict:
        """Keep if the candidate is better than its parent by more than `earn` metric units."""


class Researcher(Protocol):
    """Follows a program at a bench until it has nothing more to try or the budget is spent.

    A kind is made from (program, task, seed, context), see `researchers`. `BudgetSpent` and `RunStopped`
    may be left to surface from `work`; the bench's head is the result.
    """

    def work(self, bench: Bench) -> None: ...
