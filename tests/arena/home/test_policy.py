"""Order, quotas and limits of verification: a record decides the order and never the level of a test."""

from __future__ import annotations

import pytest

from arena.home.policy import (
    BATCH,
    START_PAIRS,
    TRUSTED,
    TRUSTED_BATCH,
    Totals,
    VolunteerRecord,
    WaitingProposal,
    allowed,
    batch,
    credited,
    draw_weights,
    leases_at_once,
    next_proposal,
    pair_seconds,
    program_for,
)

NEW, GOOD, LIAR = VolunteerRecord(), VolunteerRecord(100.0, 5.0, 9, 1, 9), VolunteerRecord(100.0, 5.0, 1, 19, 0)


def chosen(
    *waiting: WaitingProposal, spent: float = 0.0, new: float = 0.0, contributed: float = 1000.0, drawn: float = 0.9
) -> int | None:
    one = next_proposal(waiting, Totals(spent, new, contributed), pair_seconds=0.1, pairs=6, drawn=drawn)
    return one.proposal_id if one else None


def test_on_a_slow_host_the_advance_is_as_many_pairs_and_slow_sources_buy_no_more() -> None:
    assert [pair_seconds(1.0, measured) for measured in (0.0, 0.8, 1.5, 9.0)] == [1.0, 1.0, 1.5, 2.0]


def test_a_claim_counts_as_much_as_its_proposers_claims_have_held() -> None:
    assert chosen(WaitingProposal(1, LIAR, 1.0), WaitingProposal(2, GOOD, 0.5), WaitingProposal(3, NEW, 0.5)) == 2
    assert chosen(WaitingProposal(1, LIAR, 10.0), WaitingProposal(2, GOOD, 0.5)) == 1  # late, not never
    assert chosen(WaitingProposal(1, LIAR, 1e300, plausible=1.0), WaitingProposal(2, GOOD, 0.5)) == 2
    assert chosen(WaitingProposal(1, GOOD, 0.7, since=0.6), WaitingProposal(2, GOOD, 0.5)) == 2  # main has most of it
    assert chosen(WaitingProposal(2, NEW, 0.5), WaitingProposal(1, NEW, 0.5)) == 1
    assert chosen(WaitingProposal(1, GOOD, 0.0)) is None and chosen() is None


def test_new_volunteers_are_served_by_lot_and_large_claims_buy_nothing() -> None:
    worker, idle, caught = (
        VolunteerRecord(contributed=90.0),
        VolunteerRecord(contributed=10.0),
        VolunteerRecord(contributed=90.0, refuted=2),
    )
    waiting = [
        WaitingProposal(1, worker, 0.1, volunteer=1),
        WaitingProposal(2, idle, 1e9, volunteer=2),
        WaitingProposal(3, GOOD, 5.0, volunteer=3),
    ]
    drawn = [chosen(*waiting, drawn=k / 1000) for k in range(1000)]
    assert drawn.count(3) == pytest.approx(500, abs=2)  # half is for volunteers with a confirmed proposal
    assert drawn.count(1) == pytest.approx(450, abs=2) and drawn.count(2) == pytest.approx(50, abs=2)
    sybils = [WaitingProposal(k, caught, 1e9, volunteer=k) for k in range(10, 14)]
    drawn = [chosen(WaitingProposal(1, worker, 0.1, volunteer=1), *sybils, drawn=k / 1000) for k in range(1000)]
    assert drawn.count(1) == pytest.approx(500, abs=2)  # each of them counts a quarter: 1 of 4 claims, squared


def test_verification_costs_a_tenth_of_the_work_after_a_small_advance() -> None:
    limit = allowed(Totals(contributed=1000.0), 0.1)
    assert limit == pytest.approx(100 + START_PAIRS * 0.1)
    assert chosen(WaitingProposal(1, GOOD, 1.0), spent=limit - 0.7) == 1
    assert chosen(WaitingProposal(1, GOOD, 1.0), spent=limit - 0.5) is None
    assert chosen(WaitingProposal(1, NEW, 1.0), contributed=0.0) == 1  # the advance, with which a project begins


def test_new_volunteers_share_a_part_of_the_verification() -> None:
    many = [WaitingProposal(k, NEW, 50.0) for k in range(1, 1000)]
    assert chosen(*many, WaitingProposal(1000, GOOD, 0.1), spent=30.0, new=52.3, drawn=0.1) == 1000
    assert chosen(*many, spent=30.0, new=52.3) is None
    assert chosen(*many, spent=30.0, new=1.0) == 1


def test_claimed_seconds_let_a_project_begin_and_are_worth_little() -> None:
    assert allowed(Totals(claimed=1000.0), 0.1) == pytest.approx(0.1 * 100 + START_PAIRS * 0.1)
    assert allowed(Totals(contributed=300.0, claimed=1000.0), 0.1) == pytest.approx(0.1 * 600 + START_PAIRS * 0.1)


def test_quotas_grow_with_confirmed_work() -> None:
    assert leases_at_once(VolunteerRecord(devices=8)) == 1
    assert leases_at_once(VolunteerRecord(confirmed=3, devices=8)) == 4
    assert leases_at_once(VolunteerRecord(confirmed=99, devices=8)) == 9
    assert [batch(VolunteerRecord(streak=n)) for n in (0, TRUSTED - 1, TRUSTED)] == [BATCH, BATCH, TRUSTED_BATCH]


def test_no_more_is_credited_than_can_have_passed() -> None:
    assert credited(2.0, 2.5, 10.0) == 2.0
    assert credited(9.9, 2.5, 10.0) == 2.5
    assert credited(2.0, 2.5, 0.25) == 0.25
    assert credited(2.0, 2.5, -5.0) == 0.0  # a clock that was set back


def test_programs_are_drawn_by_share_and_each_now_and_then() -> None:
    weights = dict(draw_weights({"p1": 1.0, "p2": 0.0, "p3": 3.0}))
    assert sum(weights.values()) == pytest.approx(1) and weights["p2"] > 0
    assert weights["p3"] - weights["p1"] == pytest.approx(0.75 / 2)
    drawn = [program_for({"p1": 1.0, "p2": 0.0, "p3": 3.0}, k / 1000) for k in range(1000)]
    assert {name: drawn.count(name) / 1000 for name in weights} == pytest.approx(weights, abs=0.002)
    assert program_for({"p1": 1.0}, 1 - 2**-53) == "p1"
    with pytest.raises(ValueError, match="no program"):
        program_for({}, 0.5)
