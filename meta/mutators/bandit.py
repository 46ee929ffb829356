"""Which operator is asked next, where models are at hand: Thompson sampling on what children gained, for their cost.

An arm is an operator with the model that it asks (None: an offline operator). Children of an arm gain normally about
its mean; means are partly pooled, and the variances come from the paired effects themselves (DerSimonian and Laird
1986). A draw of an arm's mean (Thompson 1933) gives what one more child is expected to add where only a gain is kept,
E[max(0, x)], times the share of the arm's attempts that become children, over what a child of the arm costs: the device
time of racing it, and its dollars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from analysis.events import MutationEvent
from analysis.statistics import between_variance
from meta.mutators.base import ChildProposal, Mutator
from meta.mutators.mix import Mix

if TYPE_CHECKING:
    import numpy as np

    from analysis.credit import MutationCredit

# What a dollar is worth in device time, to weigh the two: a rented accelerator at two dollars an hour.
SECONDS_PER_USD = 1800.0
CHANCES = 3  # draws in which a model may have nothing to propose to these parents
Name = tuple[str, str | None]  # operator, model


@dataclass
class ArmHistory:
    """What an arm has brought and cost so far. Effects are (child minus parents, its variance), in metric units."""

    effects: list[tuple[float, float]] = field(default_factory=list)
    attempts: int = 0
    children: int = 0
    usd: float = 0.0


@dataclass(frozen=True)
class ArmPosterior:
    """Posterior of an arm's mean, sd between its children, and the cost of a child in device-seconds."""

    mean: float
    sd: float
    spread: float
    cost: float

    def worth(self, draw: float) -> float:
        """Expected gain per device-second where a child that loses is dropped; ``draw`` is standard normal."""
        mean = self.mean + self.sd * draw
        z = mean / self.spread
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        below = 0.5 * math.erfc(-z / math.sqrt(2))
        return (mean * below + self.spread * density) / self.cost


def arm_histories(mutations: Sequence[MutationEvent], credits: Sequence[MutationCredit]) -> dict[Name, ArmHistory]:
    """By arm, from the mutations of a study. A repaired reply counts for the operator whose reply it was."""
    credit = {c.child_id: c for c in credits}
    known = [c.se**2 for c in credits if c.se]
    usual = sum(known) / len(known) if known else 1.0
    arms: dict[Name, ArmHistory] = {}
    for event in mutations:
        arm = arms.setdefault((event.repairs or event.operator, event.model), ArmHistory())
        arm.usd += event.usd or 0.0
        arm.attempts += 1
        arm.children += event.accepted
        measured = credit.get(event.child_id) if event.accepted and event.child_id else None
        if measured is not None:
            arm.effects.append((measured.estimate, measured.se**2 if measured.se else usual))
    return arms


def believe(
    names: Sequence[Name], arms: Mapping[Name, ArmHistory], race_seconds: float, first_usd: Mapping[str, float]
) -> list[ArmPosterior]:
    """The posterior of each arm. ``race_seconds``: device time of one child; ``first_usd``: dollars of a model's call
    before anything is known, which counts like one child."""
    effects = [effect for arm in arms.values() for effect in arm.effects]
    between = between_variance(*map(list, zip(*effects, strict=True))) if len(effects) > 1 else 0.0
    # where nothing sets children apart yet, they may differ by as much as one measurement strays
    between = between or (sum(v for _, v in effects) / len(effects) if effects else 1.0)
    centre, _ = _posterior(effects, 0.0, between)
    believed = []
    for name in names:
        arm = arms.get(name, ArmHistory())
        mean, variance = _posterior(arm.effects, centre, between)
        usd = (arm.usd + first_usd.get(name[1] or "", 0.0)) / (arm.children + 1)
        cost = race_seconds + SECONDS_PER_USD * usd
        believed.append(ArmPosterior(mean, math.sqrt(variance), math.sqrt(between), cost))
    return believed


def _posterior(effects: Sequence[tuple[float, float]], prior: float, between: float) -> tuple[float, float]:
    """Mean and variance of a normal mean whose prior has the variance ``between``, as its children have about it."""
    precision = 1 / between + sum(1 / (v + between) for _, v in effects)
    return (prior / between + sum(y / (v + between) for y, v in effects)) / precision, 1 / precision


class Chooser(Protocol):
    """Who says which operator is asked next, and is told what became of each proposal."""

    def draw(self, rng: np.random.Generator) -> Mutator: ...

    def tell(self, proposal: ChildProposal, refusal: str) -> None: ...

    def named(self, name: str) -> Mutator:
        """Raises NotFound."""


class ModelOperator(Mutator, Protocol):
    """An operator of a model, while its desk is open."""

    @property
    def model(self) -> str: ...

    @property
    def open(self) -> bool: ...

    def tell(self, proposal: ChildProposal, refusal: str) -> None:
        """What was tried in this generation, for the prompts that follow."""


class Bandit:
    """Of one generation: offline operators and those of models side by side; those whose desk is closed are passed
    over."""

    def __init__(
        self, offline: Mix, asking: Sequence[ModelOperator], arms: Mapping[Name, ArmHistory], race_seconds: float,
        first_usd: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._offline = offline
        names: list[Name] = [*((m.name, None) for m in offline.operators), *((m.name, m.model) for m in asking)]
        self._arms: list[tuple[Mutator, ModelOperator | None]] = [*((m, None) for m in offline.operators)]
        self._arms += [(m, m) for m in asking]
        self._believed = believe(names, arms, race_seconds, first_usd)
        self._tries = [[arms[n].attempts, arms[n].children] if n in arms else [0, 0] for n in names]
        self._index = {name: index for index, name in enumerate(names)}
        self._chances = CHANCES  # of models to be heard at least once in this generation

    def draw(self, rng: np.random.Generator) -> Mutator:
        """The arm of the highest draw; every arm draws each time, so that what is passed over shifts no number.

        The first proposal of a generation is a model's, whatever it costs: who names one wants it heard, and where
        runs are short its calls would outweigh every child for ever, unmeasured.
        """
        draws = [b.worth(float(rng.standard_normal())) for b in self._believed]
        draws = [worth * (born + 1) / (tried + 2) for worth, (tried, born) in zip(draws, self._tries, strict=True)]
        may = [i for i, (_, asks) in enumerate(self._arms) if asks is None or asks.open]
        models = [i for i in may if self._arms[i][1] is not None] if self._chances else []
        self._chances = max(0, self._chances - 1)
        return self._arms[max(models or may, key=lambda i: draws[i])][0]

    def tell(self, proposal: ChildProposal, refusal: str) -> None:
        """An arm whose proposals are refused is asked less often: few of its attempts become a child."""
        calls = proposal.calls
        self._chances = 0 if calls else self._chances
        arm = (calls.repairs or proposal.operator, calls.model) if calls else (proposal.operator, None)
        if arm in self._index:
            self._tries[self._index[arm]][0] += 1
            self._tries[self._index[arm]][1] += not refusal
        for _, asks in self._arms:
            if asks is not None:
                asks.tell(proposal, refusal)
                break

    def named(self, name: str) -> Mutator:
        return self._offline.named(name)
