"""Whose proposal is tested next. Pure functions: the level of a test depends on nothing here, so that neither claims
nor a good record buy a merge."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

NEW_SHARE = 0.5  # of the verification, for volunteers without a merged proposal


@dataclass(frozen=True)
class WaitingProposal:
    """A proposal that waits for its test. ``claimed``: its gain, by its volunteer. ``confirmed`` and ``refuted``: how
    many of the volunteer's tested proposals were merged, and how many not."""

    proposal_id: int
    volunteer: int
    claimed: float
    confirmed: int = 0
    refuted: int = 0

    @property
    def reliability(self) -> float:
        """Share of the volunteer's claims that held, with one of each kind added."""
        return (self.confirmed + 1) / (self.confirmed + self.refuted + 2)


def next_proposal(
    waiting: Iterable[WaitingProposal], drawn: float, plausible: float, new_may: bool = True
) -> WaitingProposal | None:
    """The proposal to test now.

    Volunteers with a merged proposal are served by claim times reliability; beyond ``plausible`` a claim counts no
    more. The others get half of the tests (none if not ``new_may``), by lot: each volunteer by its reliability, so that
    neither large claims nor many proposals keep an honest one waiting. ``drawn``: uniform in [0, 1).
    """
    known, new = list[WaitingProposal](), dict[int, WaitingProposal]()
    for proposal in sorted(waiting, key=lambda row: (-row.claimed, row.proposal_id)):
        if proposal.confirmed:
            known.append(proposal)
        elif new_may:
            new.setdefault(proposal.volunteer, proposal)
    if new and (not known or drawn < NEW_SHARE):
        left = (drawn / NEW_SHARE if known else drawn) * math.fsum(row.reliability for row in new.values())
        for volunteer in sorted(new):
            left -= new[volunteer].reliability
            if left < 0:
                return new[volunteer]
    return max(known, key=lambda row: min(row.claimed, plausible) * row.reliability, default=None)
