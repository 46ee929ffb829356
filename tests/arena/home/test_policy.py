"""The order of tests: a record decides the order and never the level of a test."""

from __future__ import annotations

import math

import pytest

from arena.home.policy import WaitingProposal, next_proposal

GOOD, LIAR = {"confirmed": 9, "refuted": 1}, {"confirmed": 1, "refuted": 19}


def waiting(number: int, claimed: float, **record: int) -> WaitingProposal:
    return WaitingProposal(number, number, claimed, **record)


def chosen(
    *proposals: WaitingProposal, drawn: float = 0.9, plausible: float = math.inf, new_may: bool = True
) -> int | None:
    proposal = next_proposal(proposals, drawn, plausible, new_may)
    return proposal.proposal_id if proposal else None


def test_claim_counts_as_much_as_its_proposers_claims_have_held() -> None:
    assert chosen(waiting(1, 1.0, **LIAR), waiting(2, 0.5, **GOOD), waiting(3, 0.5)) == 2
    assert chosen(waiting(1, 10.0, **LIAR), waiting(2, 0.5, **GOOD)) == 1  # late, not never
    assert chosen(waiting(1, 1e300, **LIAR), waiting(2, 0.5, **GOOD), plausible=1.0) == 2
    assert chosen(waiting(2, 0.5, **GOOD), waiting(1, 0.5, **GOOD)) == 1  # the older one
    assert chosen() is None and chosen(waiting(1, 1.0), new_may=False) is None


def test_new_volunteers_are_served_by_lot_whatever_they_claim() -> None:
    proposals = [waiting(1, 0.1), waiting(2, 1e9, refuted=2), waiting(3, 5.0, **GOOD)]
    drawn = [chosen(*proposals, drawn=k / 1000) for k in range(1000)]
    assert drawn.count(3) == pytest.approx(500, abs=2)  # half is for volunteers with a merged proposal
    assert drawn.count(1) == pytest.approx(333, abs=2) and drawn.count(2) == pytest.approx(167, abs=2)
    many = [WaitingProposal(k, 7, 1e9) for k in range(10, 99)]  # of one volunteer
    drawn = [chosen(waiting(1, 0.1), *many, drawn=k / 1000) for k in range(1000)]
    assert drawn.count(1) == pytest.approx(500, abs=2) and drawn.count(10) == pytest.approx(500, abs=2)
    assert chosen(*proposals, drawn=0.1, new_may=False) == 3
