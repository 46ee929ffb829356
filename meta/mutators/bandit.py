"""Picks the next operator if models take part: Thompson sampling on the gain of children per cost.

An arm is an operator with the model that it calls (None: an offline operator). Gains of an arm's children are normal
about its mean; means are partly pooled, and the variances come from the paired effects themselves (DerSimonian and
Laird 1986). A draw of an arm's mean (Thompson 1933) gives the expected benefit of one more child if only gains are
kept, E[max(0, x)]. It is multiplied by the share of the arm's attempts that become children, and divided by the cost of
a child: the device time of racing it, plus its dollars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.ledger.writing_events import MutationEvent
from analysis.statistics import between_variance
from meta.mutators.base import ChildProposal, ModelMutator, Mutator
from meta.mutators.mix import Mix

if TYPE_CHECKING:
    import numpy as np

    from analysis.effects.rows import MutationCredit

# Device time that costs one dollar: a rented accelerator at two dollars an hour.
SECONDS_PER_USD = 1800.0
CHANCES = 3  # draws in which a model may have nothing to propose for these parents
Name = tuple[str, str | None]  # operator, model


@dataclass
class ArmHistory:
    """An arm's results and cost so far. Effects are (child minus parents, its variance), in metric units."""

    effects: list[tuple[float, float]] = field(default_factory=list)
    attempts: int = 0
    children: int = 0
    usd: float = 0.0


@dataclass(frozen=True)
class ArmPosterior:
    """Posterior mean of an arm and its SD, the SD between its children, and the cost of a child in device-seconds."""

    mean: float
    sd: float
    spread: float
    cost: float

    def worth(self, draw: float) -> float:
        """Expected gain per device-second if losing children are dropped; ``draw`` is standard normal."""
        mean = self.mean + self.sd * draw
        z = mean / self.spread
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        below = 0.5 * math.erfc(-z / math.sqrt(2))
        return (mean * below + self.spread * density) / self.cost


def arm_of(event: MutationEvent) -> Name:
    """A repaired reply counts for the operator whose reply it was."""
    return event.repairs or event.operator, event.model


def arm_histories(
    mutations: Sequence[MutationEvent],
    credits: Sequence[MutationCredit],
    arm_of: Callable[[MutationEvent], Name] = arm_of,
) -> dict[Name, ArmHistory]:
    """By arm, from the mutations of a study."""
    credit = {c.child_id: c for c in credits}
    known = [c.se**2 for c in credits if c.se]
    usual = sum(known) / len(known) if known else 1.0
    arms: dict[Name, ArmHistory] = {}
    for event in mutations:
        arm = arms.setdefault(arm_of(event), ArmHistory())
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
    """The posterior of each arm. ``race_seconds``: device time of one child; ``first_usd``: expected dollars of a
    model's call, which count like one child."""
    effects = [effect for arm in arms.values() for effect in arm.effects]
    between = between_variance(*map(list, zip(*effects, strict=True))) if len(effects) > 1 else 0.0
    # without measured differences between children, assume the variance of one measurement
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
    """Mean and variance of a normal mean whose prior variance is ``between``, also the variance of its children."""
    precision = 1 / between + sum(1 / (v + between) for _, v in effects)
    return (prior / between + sum(y / (v + between) for y, v in effects)) / precision, 1 / precision


class Bandit:
    """One generation: offline and model operators together; model operators that cannot call are skipped."""

    def __init__(
        self,
        offline: Mix,
        asking: Sequence[ModelMutator],
        arms: Mapping[Name, ArmHistory],
        race_seconds: float,
        first_usd: Mapping[str, float],
    ) -> None:
        self._asking: dict[Name, ModelMutator] = {(m.name, m.model): m for m in asking}
        self._arms: dict[Name, Mutator] = {**{(m.name, None): m for m in offline.operators}, **self._asking}
        self._believed = believe([*self._arms], arms, race_seconds, first_usd)
        known = {name: arms.get(name, ArmHistory()) for name in self._arms}
        self._tries = {name: [arm.attempts, arm.children] for name, arm in known.items()}
        self._chances = CHANCES  # left for a first proposal of a model in this generation

    def draw(self, rng: np.random.Generator) -> Mutator:
        """The arm with the highest draw. Every arm draws each time, so a skipped arm does not shift random numbers.

        The first proposal of a generation is a model's, whatever it costs: the user asked for models, and if runs are
        short a call would otherwise always look too expensive and never be measured.
        """
        draws = {
            name: arm.worth(float(rng.standard_normal())) * (born + 1) / (tried + 2)
            for arm, (name, (tried, born)) in zip(self._believed, self._tries.items(), strict=True)
        }
        models = [name for name, mutator in self._asking.items() if mutator.open]
        may = models if models and self._chances else [name for name in draws if name not in self._asking] + models
        self._chances = max(0, self._chances - 1)
        return self._arms[max(may, key=draws.__getitem__)]

    def report(self, proposal: ChildProposal, refusal: str) -> None:
        """An arm with refused proposals is drawn less often: few of its attempts become a child."""
        calls = proposal.calls
        self._chances = 0 if calls else self._chances
        arm = (calls.repairs or proposal.operator, calls.model) if calls else (proposal.operator, None)
        if arm in self._tries:
            self._tries[arm][0] += 1
            self._tries[arm][1] += not refusal
        for mutator in [*self._asking.values()][:1]:  # later prompts of all of them have it
            mutator.report(proposal, refusal)
