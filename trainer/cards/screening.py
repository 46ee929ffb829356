"""Whether a short look at each candidate pays on a task: its cost, how well it ranks, and the break-even.

A plan with waves of W candidates spends, for each of the k candidates that it trains in full, 1 + cost x W / k full
experiments, where ``cost`` is that of a look. So a promoted candidate has to gain that many times as much as one that
is trained without a look. What it can gain comes from the task's measured edits: if m is the mean gain of a random edit
(0 for one that does not help) and M that of the best k of W random edits, a look whose ranks agree with those of full
experiments by the rank correlation r finds edits that gain m + r x (M - m) on average.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from programs.charter import Charter, promoted

if TYPE_CHECKING:
    from trainer.task import Task

FRACTIONS = (0.25, 0.5)  # of the looks that are measured
SHAPES = ((6, 1), (12, 2))  # waves, and how many of each are promoted, of which `task measure` prints the break-even
MOST = 1000  # edits of a card that are read


@dataclass(frozen=True)
class Look:
    """A short training. ``agreement``: Spearman's rank correlation of its metrics with those of full experiments, over
    so many edits."""

    fraction: float
    agreement: float
    edits: int


@dataclass(frozen=True)
class Screening:
    """``fixed_share``: launch and scoring, which a look pays in full, as a share of a full experiment's cost."""

    fixed_share: float
    looks: tuple[Look, ...]

    def cost(self, fraction: float) -> float:
        """Of a look, in full experiments."""
        return self.fixed_share + (1 - self.fixed_share) * fraction

    def agreement(self, fraction: float) -> float:
        """The measured one of that look, or of the next longer one, which ranks at least as well; 1 without any."""
        return next((look.agreement for look in self.looks if look.fraction >= fraction - 1e-9), 1.0)

    def break_even(self, fraction: float, wave: int, chosen: int) -> float:
        """How many times as much as without looks a promoted candidate has to gain."""
        return 1 + self.cost(fraction) * wave / chosen

    def expected(self, gains: Sequence[float], fraction: float, wave: int, chosen: int) -> float:
        """How many times as much it gains, if edits with these gains are equally likely to be candidates."""
        mean = sum(gains) / len(gains)
        best = best_of_wave(gains, wave, chosen)
        return 1 + max(0.0, self.agreement(fraction)) * (best / mean - 1)

    def lines(self, gains: Sequence[float]) -> list[str]:
        """What was measured, and the break-even of usual waves."""
        lines = [f"launch and scoring are {self.fixed_share:.0%} of an experiment"]
        for look in self.looks:
            at, cost = f"a look at {look.fraction:.0%} of the time", self.cost(look.fraction)
            lines.append(
                f"{at} costs {cost:.0%} of an experiment, {self.fixed_share / cost:.0%} of that for launch and scoring;"
                f" it ranks {look.edits} edits like full experiments with rank correlation {look.agreement:.2f}"
            )
            for wave, chosen in SHAPES if any(gains) else ():
                needed = self.break_even(look.fraction, wave, chosen)
                expected = self.expected(gains, look.fraction, wave, chosen)
                lines.append(
                    f"  waves of {wave}, {chosen} of them promoted: break-even at {needed:.1f} times the gain of a full"
                    f" experiment, expected {expected:.1f}: {'pays' if expected >= needed else 'does not pay'}"
                )
        return lines


def best_of_wave(gains: Sequence[float], wave: int, chosen: int) -> float:
    """The mean gain of the best ``chosen`` of ``wave`` random edits, drawn with replacement."""
    total, before = 0.0, 0.0
    for rank, gain in enumerate(sorted(gains, reverse=True), 1):
        among = _expected_least(wave, rank / len(gains), chosen)  # promoted candidates among the first ranks
        total += gain * (among - before)
        before = among
    return total / chosen


def _expected_least(draws: int, share: float, most: int) -> float:
    """The mean of min(B, most), where B is binomial."""
    if share >= 1:
        return float(min(draws, most))
    below = (math.comb(draws, b) * share**b * (1 - share) ** (draws - b) * (most - b) for b in range(most))
    return most - sum(below)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's; None for fewer than three pairs or where one side is constant."""
    ranks = [[sum((x < y) + (x <= y) for x in side) for y in side] for side in zip(*pairs, strict=True)]
    try:
        return statistics.correlation(*ranks) if len(pairs) > 2 else None
    except statistics.StatisticsError:
        return None


def gains_if_kept(effects: Sequence[tuple[float | None, bool]]) -> list[float]:
    """The gains of edits, each given by its effect and whether one run detects it: 0 for one that is not kept."""
    return [gain if gain is not None and resolved and gain > 0 else 0.0 for gain, resolved in effects]


def of_card(card: Any) -> tuple[Screening, list[float]] | None:
    """What a card, an untrusted file, has about looks, and the gains of its edits; None if that was not measured."""
    try:
        looks = [Look(float(x["fraction"]), float(x["agreement"]), int(x["edits"])) for x in card["screening"]["looks"]]
        effects = [(effect["gain_sd"], effect["resolved"] is True) for effect in card["effects"][:MOST]]
        gains = gains_if_kept([(None if gain is None else float(gain), resolved) for gain, resolved in effects])
        screening = Screening(float(card["screening"]["fixed_share"]), tuple(sorted(looks, key=lambda x: x.fraction)))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    shares = [screening.fixed_share, *(value for look in looks for value in (look.fraction, abs(look.agreement)))]
    known = looks and any(gains) and all(map(math.isfinite, gains)) and all(0 <= share <= 1 for share in shares)
    return (screening, gains) if known else None


def doubt(task: Task, charter: Charter) -> str:
    """Why a charter's screening costs more than it finds on a task; empty if it pays, or if that is not known."""
    fraction, wave = charter.screen.fraction, charter.wave
    chosen = promoted(wave, charter.screen.promote)
    known = of_card(task.card) if fraction < 1 and chosen < wave and task.scales else None
    if known is None:
        return ""
    screening, gains = known
    needed = screening.break_even(fraction, wave, chosen)
    expected = screening.expected(gains, fraction, wave, chosen)
    if expected >= needed:
        return ""
    return (
        f"screening does not pay on {task.name}: a promoted candidate has to gain {needed:.1f} times as much as one"
        f" without a short training before it, and at most {expected:.1f} times is expected"
    )
