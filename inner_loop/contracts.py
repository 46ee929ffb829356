"""The decisions of a run, one Protocol each: who researches, what is tried next, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from inner_loop.events import Experiment, Proposal
from programs.ideas import ProgramIdea
from trainer.edits import Edit, EditSpace, Knob
from trainer.rows import Difference
from trainer.source import Source
from trainer.values.conditional import ConditionalEdit

if TYPE_CHECKING:
    import numpy as np

    from inner_loop.bench import Bench
    from trainer.task import Task

#: A turn of a researcher: it yields proposals, and is sent the experiment of each, which is decided by then.
Turn = Generator[Proposal, Experiment, None]

#: Settings of a program that have no effect in a night, which has its own rules for them.
NIGHT_RULES = ("keep", "replicates", "screen", "wave", "confirm", "simplicity")


class TurnOrder(NamedTuple):
    """How the programs of a night take turns: in ``blocks`` blocks, or until the budget is spent (0). Their list is
    divided into ``groups`` equal parts; the parts have a block each by turns, in which each program has one turn, in
    random order."""

    blocks: int = 0
    groups: int = 1


UNPLANNED = TurnOrder()


@dataclass(frozen=True)
class Situation:
    """What a proposer sees: the source to edit and this run's history.

    `knobs` are those in focus that can still change. `allowed` says whether an edit of the parent may be tried (it
    changes something, it is not banned, and under no-repeat its source is new); `was_tried` whether it was tried
    already.
    """

    space: EditSpace
    knobs: tuple[Knob, ...]
    parent: Experiment
    history: Sequence[Experiment]
    sign: float
    allowed: Callable[[Edit], bool]
    was_tried: Callable[[Edit], bool]


@dataclass(frozen=True)
class ProposerStart:
    """The input of a proposer's `make`: the program's ideas that the task knows, each with what it asks for, in order;
    and the directives to cite for proposals that come from no idea. ``program_id``: in a night the experiments of other
    programs have other ids."""

    ideas: tuple[tuple[ProgramIdea, ConditionalEdit], ...] = ()
    directive_ids: tuple[str, ...] = ()
    program_id: str = ""


class CitingProposer:
    """The base of those whose proposals come from no idea."""

    def __init__(self, start: ProposerStart = ProposerStart()) -> None:
        self._directive_ids = start.directive_ids


class Proposer(Protocol):
    """Proposes the next edit. It reads only the history of its own run and draws only from the run's generator."""

    name: str

    def propose(self, situation: Situation, rng: np.random.Generator) -> Proposal | None:
        """An allowed edit of `situation.parent`, or None if this proposer has nothing to offer now."""


@dataclass(frozen=True)
class KeepVerdict:
    """`gain` in metric units, positive when better; None if there was nothing to compare. ``gain_se``: its standard
    error, where it is known. ``undecided``: it is too small to be kept or dropped for what it is."""

    keep: bool
    reason: str
    gain: float | None = None
    gain_se: float | None = None
    undecided: bool = False

    @property
    def decision(self) -> str:
        return "keep" if self.keep else "undecided" if self.undecided else "discard"

    @property
    def compared(self) -> Difference | None:
        return None if self.gain is None else Difference(self.gain, self.gain_se)


@dataclass(frozen=True)
class MoreSeeds:
    """What a keep rule asks for before it decides: each of ``sources`` trained once more, with one training seed.

    ``replicate``: selects the seed. ``otherwise``: the verdict if the budget does not cover all of them. Their
    experiments cite the settings of the keep rule.
    """

    sources: tuple[Experiment, ...]
    replicate: int
    reason: str
    otherwise: KeepVerdict


class KeepRule(Protocol):
    """Decides between a candidate and its parent, both measured in full, from measurements alone: it trains nothing."""

    name: str

    def baseline_seeds(self, task: Task) -> int:
        """How many training seeds of the baseline it needs before anything is judged."""
        return 1

    def judge(
        self,
        bench: Bench,
        candidate: Experiment,
        parent: Experiment,
        further: Sequence[Experiment] = (),
        *,
        earn: float = 0.0,
    ) -> KeepVerdict | MoreSeeds:
        """Keep if the candidate is better than its parent by more than `earn` metric units. ``further``: the
        experiments that this judgement has asked for so far, in order; it is asked again with them."""


class Researcher(Protocol):
    """Follows a program until it has nothing more to try or the budget is spent.

    Each kind is made from (program, task, seed, context), see `researchers`. `work` may raise `BudgetSpent` and
    `RunStopped`; the bench's head is the result.
    """

    def work(self, bench: Bench) -> None: ...


@runtime_checkable
class TurnResearcher(Researcher, Protocol):
    """A researcher that can take turns with others on one lineage of train.py (`inner_loop.night`): it proposes, and
    the night trains and decides.

    ``turn_size``: the most experiments of a turn. ``is_replayed``: whether it proposes the same again when a run is
    resumed. ``client``: what it shares with the other programs of a night, which have it as `RunContext.client`.
    """

    turn_size: int = 1
    is_replayed: bool = True
    client: object = None

    def open(self, bench: Bench) -> None:
        """Called before the first turn. One that cannot be replayed restores what the run has recorded."""
        return None

    def close(self) -> None:
        """Called at the end, also without `open`."""
        return None

    def turn(self, bench: Bench, most: int, taken: Collection[Source] = ()) -> Turn:
        """At most so many proposals on the bench's head, the first of another source than those ``taken``; none where
        it has nothing more to try."""

    def refit(self, bench: Bench, proposal: Proposal) -> Proposal | None:
        """A proposal made for an earlier head, on the head of now; None where it does not apply."""
        return None

    def ahead(self, bench: Bench, training: Sequence[Proposal]) -> None:
        """Ask a model for the next proposal while others train, so that no training waits for it."""
        return None


def next_proposal(turn: Turn, experiment: Experiment) -> Proposal | None:
    """What a turn proposes after it was sent the decided experiment of its last proposal; None at its end."""
    try:
        return turn.send(experiment)
    except StopIteration:
        return None
