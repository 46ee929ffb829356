"""The fixed mix of operators: which mutator is asked next. Its weights are saved with the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from meta.mutators.base import Mutator, Proposal
from meta.mutators.change_field import ChangeField
from meta.mutators.cross_sections import CrossSections
from meta.mutators.delete_directive import DeleteDirective
from meta.mutators.reorder_ideas import ReorderIdeas
from meta.mutators.take_directive import TakeDirective
from meta.mutators.write_ideas import WriteIdeas
from programs.errors import NotFound

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Weights:
    """How often each operator is asked; they need not sum to one. The levers that were measured largest lead."""

    write_ideas: float = 0.30
    reorder_ideas: float = 0.15
    change_field: float = 0.20
    take_directive: float = 0.15
    delete_directive: float = 0.10
    cross_sections: float = 0.10


def _operators() -> tuple[Mutator, ...]:
    return (WriteIdeas(), ReorderIdeas(), ChangeField(), TakeDirective(), DeleteDirective(), CrossSections())


@dataclass(frozen=True)
class Mix:
    weights: Weights = field(default_factory=Weights)
    operators: Sequence[Mutator] = field(default_factory=_operators)

    def draw(self, rng: np.random.Generator) -> Mutator:
        """An operator, by weight."""
        weights = [self.to_json()[mutator.name] for mutator in self.operators]
        return self.operators[int(rng.choice(len(weights), p=[w / sum(weights) for w in weights]))]

    def tell(self, proposal: Proposal, refusal: str) -> None:
        """A fixed mix does not learn."""

    def named(self, name: str) -> Mutator:
        """Raises NotFound."""
        for mutator in self.operators:
            if mutator.name == name:
                return mutator
        known = ", ".join(mutator.name for mutator in self.operators)
        raise NotFound(f"no mutator is called {name}", hint=f"known: {known}")

    def to_json(self) -> dict[str, float]:
        """Weights by operator name, as they are recorded."""
        return {name.replace("_", "-"): weight for name, weight in asdict(self.weights).items()}
