"""Who gets a lease, whose proposal is verified next, and how much of the work may go into verification.

Pure functions. What a proposer's record decides is the order and the number of pairs that are measured at once; the
level of a test never depends on it, so a good record cannot buy a merge. Adaptive replication after BOINC (Anderson,
"BOINC: A Platform for Volunteer Computing", Journal of Grid Computing 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

VERIFICATION_SHARE = 0.1  # of the contributed device-seconds
CLAIM_WORTH = 0.1  # of a device-second that a volunteer without a confirmed proposal claims
START_PAIRS = 40  # verified before anything counts as contributed
NEW_SHARE = 0.5  # of the verification, for volunteers without a confirmed proposal
FIRST_LEASES = 1  # at once, of a new volunteer
TRUSTED = 10  # confirmed proposals in a row
BATCH, TRUSTED_BATCH = 2, 4  # pairs measured at once
TINY = 1e-9  # weight of a volunteer that has handed in nothing
EXPLORATION = 0.25  # share of the leases that is spread evenly over the programs
SAMPLE_SHARE = 0.25  # of the leases, whose ends are scored by the host to compare programs
SAMPLING_SHARE = 0.25  # of the verification that these scores may take
DEAREST = 2.0  # times the task's own estimate: what a pair may seem to cost, so that slow sources buy no verification


@dataclass(frozen=True)
class VolunteerRecord:
    """Device-seconds: ``contributed`` of search, ``checking`` of verifying its proposals."""

    contributed: float = 0.0
    checking: float = 0.0
    confirmed: int = 0
    refuted: int = 0
    streak: int = 0
    devices: int = 1

    @property
    def known(self) -> bool:
        return self.confirmed > 0

    @property
    def reliability(self) -> float:
        """Share of its claims that hold, with one claim of each kind added."""
        return (self.confirmed + 1) / (self.confirmed + self.refuted + 2)


@dataclass(frozen=True)
class Totals:
    """Device-seconds of a project: ``spent`` on tests, ``spent_on_new`` of it on proposals of volunteers without a
    confirmed one, ``sampled`` on scores that compare programs; ``contributed`` by volunteers with a confirmed proposal,
    ``claimed`` by the others."""

    spent: float = 0.0
    spent_on_new: float = 0.0
    contributed: float = 0.0
    claimed: float = 0.0
    sampled: float = 0.0


@dataclass(frozen=True)
class WaitingProposal:
    """A proposal that waits for its verification. ``volunteer``: whose it is. In the task's unit: ``claimed`` over its
    base, ``since``, what main has gained since then, which the claim may contain, and ``plausible``, beyond which a
    claim buys no priority."""

    proposal_id: int
    proposer: VolunteerRecord
    claimed: float
    volunteer: int = 0
    since: float = 0.0
    plausible: float = math.inf

    @cached_property
    def worth(self) -> float:
        return min(self.claimed, self.plausible) * self.proposer.reliability - self.since

    @cached_property
    def promise(self) -> float:
        """From 0 to 1: what is left of the claim over today's main, of what is plausible; 1 where no block says it."""
        if self.plausible in (0.0, math.inf):
            return 1.0
        return max(0.0, min(self.claimed, self.plausible) - self.since) / self.plausible

    @cached_property
    def weight(self) -> float:
        """In the lot among new volunteers: its work, the share of its claims that held, and the promise."""
        return (self.proposer.contributed + TINY) * self.proposer.reliability**2 * (self.promise + TINY)


def leases_at_once(proposer: VolunteerRecord) -> int:
    """Quota: one at first, one more for each confirmed proposal, at most one for each device and one to spare."""
    return min(FIRST_LEASES + proposer.confirmed, proposer.devices + 1)


def credited(claimed_seconds: float, budget: float, elapsed: float) -> float:
    """Device-seconds of a lease that count: no more than its budget, nor than could have passed since it was issued."""
    return max(0.0, min(claimed_seconds, budget, elapsed))


def batch(proposer: VolunteerRecord) -> int:
    """Pairs measured at once before the test looks again."""
    return TRUSTED_BATCH if proposer.streak >= TRUSTED else BATCH


def pair_seconds(estimate: float, measured: float) -> float:
    """Device-seconds of a pair, by the task's ``estimate`` and the mean of those ``measured``. On a slow or busy host a
    pair costs more than the estimate, and the first START_PAIRS would be fewer."""
    return min(max(estimate, measured), DEAREST * estimate)


def allowed(totals: Totals, pair_seconds: float) -> float:
    """Device-seconds that all verification together may have cost. The seconds of volunteers without a confirmed
    proposal are only claims: they count as far as they do not exceed those of the others, or by a tenth."""
    counted = totals.contributed + max(min(totals.claimed, totals.contributed), CLAIM_WORTH * totals.claimed)
    return VERIFICATION_SHARE * counted + START_PAIRS * pair_seconds


def may_verify(totals: Totals, pair_seconds: float, pairs: int) -> bool:
    """Whether so many pairs of a test may be measured now."""
    return totals.spent + pairs * pair_seconds <= (1 - SAMPLING_SHARE) * allowed(totals, pair_seconds)


def may_verify_new(totals: Totals, pair_seconds: float, pairs: int) -> bool:
    """The same for a volunteer without a confirmed proposal: up to half of the verification is for all of these."""
    most = max(NEW_SHARE * allowed(totals, pair_seconds), START_PAIRS * pair_seconds)
    return totals.spent_on_new + pairs * pair_seconds <= most


def may_sample(totals: Totals, pair_seconds: float) -> bool:
    """Whether one more run may be scored now. Apart from the tests, so that a flood of runs takes nothing from them."""
    return totals.sampled + pair_seconds <= SAMPLING_SHARE * allowed(totals, pair_seconds)


def next_proposal(
    waiting: Iterable[WaitingProposal], totals: Totals, pair_seconds: float, pairs: int, drawn: float
) -> WaitingProposal | None:
    """The proposal to verify now, or None until more has been contributed.

    ``pairs``: what its test takes if nothing is known. Keys with a confirmed proposal are served by worth; among equals
    the older proposal is first. The others get up to half of the verification, by lot (``drawn``: uniform in
    [0, 1)): each by the device-seconds that it has handed in, the share of its claims that held, and its promise, so
    that neither large claims nor many new volunteers keep an honest one waiting for long.
    """
    if not may_verify(totals, pair_seconds, pairs):
        return None
    claims = [one for one in waiting if one.claimed > 0]
    known = [one for one in claims if one.proposer.known]
    if may_verify_new(totals, pair_seconds, pairs) and (drawn < NEW_SHARE or not known):
        new: dict[int, list[WaitingProposal]] = {}
        for one in claims:
            if not one.proposer.known:
                new.setdefault(one.volunteer, []).append(one)
        firsts = {who: best(own) if len(own) > 1 else own[0] for who, own in new.items()}
        if firsts:
            return firsts[_by_lot(firsts, drawn / NEW_SHARE if known else drawn)]
    return best(known) if known else None


def best(waiting: Iterable[WaitingProposal]) -> WaitingProposal:
    """The one that is verified first among equals in everything but worth and age."""
    return max(waiting, key=lambda one: (one.worth, -one.proposal_id))


def _by_lot(firsts: Mapping[int, WaitingProposal], drawn: float) -> int:
    """A volunteer, with a probability in proportion to its work, reliability and promise."""
    weights = {who: firsts[who].weight for who in sorted(firsts)}
    left = drawn * math.fsum(weights.values())
    for who, weight in weights.items():
        left -= weight
        if left < 0:
            return who
    return max(weights)


def program_for(shares: Mapping[str, float], drawn: float) -> str:
    """The program of a lease: ``EXPLORATION`` of the leases are spread evenly, the others by ``shares``.

    ``drawn``: uniform in [0, 1), from the lease's own stream, so that the draw can be recomputed.
    """
    weights = draw_weights(shares)
    for program_id, weight in weights:
        if drawn < weight:
            return program_id
        drawn -= weight
    return weights[-1][0]


def draw_weights(shares: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    """Each program's probability, in the order of the ids."""
    total = sum(shares.values())
    if not shares or total <= 0:
        raise ValueError("no program has a share")
    even = EXPLORATION / len(shares)
    return [(name, even + (1 - EXPLORATION) * share / total) for name, share in sorted(shares.items())]
