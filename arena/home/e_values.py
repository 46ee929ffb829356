"""The test of a proposal: paired differences one after the other, and one error budget for the whole project.

The differences of one proposal, gain of its script minus gain of its base on the same fresh seed and split, are
independent and equally distributed. The hypothesis is that their mean is not above zero. Three parts:

- A scale-free e-process for normal data of unknown variance: the likelihood ratio of the t statistic with a normal
  prior N(0, 1/c²) on the mean in standard deviations (Lai 1976; Wang and Ramdas, "Anytime-valid t-tests and confidence
  sequences for Gaussian means with unknown variance", Sequential Analysis 2025). With n differences of mean m, squared
  deviations S, r = n m² / S and k = c² / (n + c²): log e = ½ log k + n/2 (log(1 + r) - log(1 + k r)). By Ville's
  inequality it exceeds 1/α at any moment with probability α at most, so it may be looked at after each pair. It counts
  where m > 0 only: with a mean below zero, adding the missing part to each difference only enlarges r.
- e-LOND (Xu and Ramdas, "Online multiple testing with e-values", AISTATS 2024): the t-th proposal is tested at
  α_t = α γ_t (D + 1), D proposals merged so far, Σ γ_t = 1. The expected share of false merges among the merged is α at
  most, whatever the proposals depend on. α_t is fixed when a test begins, so several may run at once.
- An end without a merge (futility) as soon as the limit of pairs cannot be expected to bring the test across.

Normality is an assumption: `bench.home tests` tries other laws. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRIOR = 0.25  # c²: the worth of the prior in pairs
BUDGET = 0.001  # α: the expected share of false merges among the merged
MOST_PAIRS = 32
LEAST_PAIRS = 3  # before a test may end without a merge
HOPE = 1.0  # standard errors above the mean that a hopeless proposal is granted


@dataclass(frozen=True)
class Moments:
    """The differences of a proposal so far: how many, their mean, their squared deviations from it."""

    n: int
    mean: float
    squares: float

    @classmethod
    def of(cls, differences: Sequence[float]) -> Moments:
        n = len(differences)
        mean = math.fsum(differences) / n if n else 0.0
        return cls(n, mean, math.fsum((d - mean) ** 2 for d in differences))


@dataclass(frozen=True)
class SequentialOutcome:
    """``state``: open, crossed (merge) or hopeless. ``low`` and ``high`` hold the mean with probability ``1 - at``
    over all moments at once; infinite while there are too few differences."""

    state: str
    log_e: float
    mean: float
    low: float
    high: float


def log_e_value(seen: Moments, prior: float = PRIOR) -> float:
    """The logarithm of the evidence against "no gain", in nats; 0 without evidence. Differences that are all equal are
    no evidence: their variance is unknown, and a metric without noise is not what the test is for."""
    if seen.n < 2 or seen.mean <= 0 or not seen.squares > 0:
        return 0.0
    k = prior / (seen.n + prior)
    r = seen.n * seen.mean * (seen.mean / seen.squares)
    if not math.isfinite(r):
        return 0.0
    return 0.5 * math.log(k) + 0.5 * seen.n * (math.log1p(r) - math.log1p(k * r))


def share(t: int) -> float:
    """γ_t of the t-th test, t = 1, 2, …: positive, falling, with sum 1."""
    if t < 1:
        raise ValueError("tests are counted from 1")
    return math.log(2) * (1 / math.log(t + 1) - 1 / math.log(t + 2))


def level(t: int, merged: int, budget: float = BUDGET) -> float:
    """α_t of a test that begins as the t-th, ``merged`` proposals after those merged before."""
    return min(1.0, budget * share(t) * (merged + 1))


def confidence(seen: Moments, at: float = 0.05, prior: float = PRIOR) -> tuple[float, float]:
    """The interval that holds the mean at every moment at once with probability ``1 - at``; the same e-process,
    inverted."""
    if seen.n < 2:
        return -math.inf, math.inf
    k = prior / (seen.n + prior)
    a = math.exp(min(700.0, (2 * math.log(1 / at) - math.log(k)) / seen.n))
    if a * k >= 1:
        return -math.inf, math.inf
    half = math.sqrt((a - 1) / (1 - a * k) * seen.squares / seen.n)
    return seen.mean - half, seen.mean + half


def hopeless(seen: Moments, at: float, most: int = MOST_PAIRS, prior: float = PRIOR) -> bool:
    """Whether the test would stay open to its last pair even if the mean were ``HOPE`` standard errors better."""
    if seen.n >= most:
        return True
    if seen.n < LEAST_PAIRS:
        return False
    variance = seen.squares / (seen.n - 1)
    mean = seen.mean + HOPE * math.sqrt(variance / seen.n)
    return log_e_value(Moments(most, mean, variance * (most - 1)), prior) < math.log(1 / at)


def judge(differences: Sequence[float], at: float, most: int = MOST_PAIRS, prior: float = PRIOR) -> SequentialOutcome:
    """The state of a test at level ``at`` after these differences, all finite."""
    if not all(map(math.isfinite, differences)):
        raise ValueError("a difference is not finite")
    seen = Moments.of(differences)
    log_e = log_e_value(seen, prior)
    crossed = log_e >= math.log(1 / at)
    state = "crossed" if crossed else "hopeless" if hopeless(seen, at, most, prior) else "open"
    return SequentialOutcome(state, log_e, seen.mean, *confidence(seen, 0.05, prior))
