"""The fixed mix of offline operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meta.mutators.base import ChildProposal, OfflineMutator
from programs.registry import Registry

if TYPE_CHECKING:
    import numpy as np

MUTATORS: Registry[Callable[[], OfflineMutator]] = Registry(
    "mutators",
    "meta.mutators.offline",
    (),
    first=("write-ideas", "reorder-ideas", "change-field", "cross-sections"),
)


def named_operators(names: Sequence[str] = ()) -> tuple[OfflineMutator, ...]:
    """The named operators, else the built-in ones. Raises NotFound if a name is not installed."""
    return tuple(MUTATORS.get(name)() for name in names or MUTATORS.built_in)


@dataclass(frozen=True)
class Mix:
    operators: Sequence[OfflineMutator] = field(default_factory=named_operators)

    def draw(self, rng: np.random.Generator) -> OfflineMutator:
        """An operator, by its share."""
        shares = [mutator.share for mutator in self.operators]
        return self.operators[int(rng.choice(len(shares), p=[share / sum(shares) for share in shares]))]

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """A fixed mix does not learn."""
