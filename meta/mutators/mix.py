"""Which operator writes next: one with a model and an offline one by turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from meta.mutators.base import ChildProposal, ModelMutator, Mutator, OfflineMutator
from programs.common.registry import Registry

MUTATORS: Registry[Callable[[], OfflineMutator]] = Registry(
    "mutators",
    "meta.mutators.offline",
    (),
    first=("write-ideas", "reorder-ideas", "change-field", "cross-sections"),
)


def named_operators(names: Sequence[str] = ()) -> tuple[OfflineMutator, ...]:
    """The named operators, else the built-in ones. Raises NotFound if a name is not installed."""
    return tuple(MUTATORS.get(name)() for name in names or MUTATORS.built_in)


@dataclass
class Mix:
    """The operators of one generation. ``writers``: those with models, none in a study without models. ``turn``: the
    number of the writer that comes first, so that each leads some generation."""

    operators: Sequence[OfflineMutator] = field(default_factory=named_operators)
    writers: Sequence[ModelMutator] = ()
    turn: int = 0
    _is_writer_next: bool = field(default=True, init=False)

    def draw(self, rng: np.random.Generator) -> Mutator:
        """By turns the next of the writers, in their order, and an offline operator by its share; an offline one where
        no writer can call."""
        if any(writer.open for writer in self.writers):
            self._is_writer_next = not self._is_writer_next
            if not self._is_writer_next:
                self.turn += 1
                return self.writers[(self.turn - 1) % len(self.writers)]
        shares = [mutator.share for mutator in self.operators]
        return self.operators[int(rng.choice(len(shares), p=[share / sum(shares) for share in shares]))]

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """What became of a proposal: later prompts of all writers show it."""
        for writer in self.writers[:1]:
            writer.report(proposal, refusal)
