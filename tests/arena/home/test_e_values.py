"""The test of a proposal: its e-process, its budget, its interval; and whose proposal is tested next, which changes no
level of a test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from arena.home.e_values import BUDGET, MOST_PAIRS, PRIOR, Moments, confidence, judge, level, log_e_value, share
from arena.home.policy import WaitingProposal, next_proposal
from bench.home import Courses


def test_bayes_factor_is_of_the_t_statistic_with_a_normal_prior() -> None:
    differences = [0.4, 1.1, 0.3, 0.9, 0.2, 0.8]
    n, mean, sd = len(differences), np.mean(differences), np.std(differences, ddof=1)
    statistic = math.sqrt(n) * mean / sd

    def mixed(effect: float) -> float:
        return float(nct.pdf(statistic, n - 1, math.sqrt(n) * effect)) * float(
            norm.pdf(effect, 0, 1 / math.sqrt(PRIOR))
        )

    ratio = quad(mixed, -12, 12, limit=200)[0] / float(t.pdf(statistic, n - 1))
    assert log_e_value(Moments.of(differences)) == pytest.approx(math.log(ratio), rel=1e-4)


def test_the_scale_does_not_matter_and_losses_are_no_evidence() -> None:
    differences = [0.4, 1.1, 0.3, 0.9]
    alike = log_e_value(Moments.of(differences))
    assert alike > 0
    assert log_e_value(Moments.of([1e-9 * d for d in differences])) == pytest.approx(alike)
    assert log_e_value(Moments.of([1e9 * d for d in differences])) == pytest.approx(alike)
    assert log_e_value(Moments.of([-d for d in differences])) == 0.0
    assert log_e_value(Moments.of([0.5, 0.5, 0.5])) == log_e_value(Moments.of([0.5])) == 0.0
    for lost in (0.1, 1.0):  # a worse candidate never has more evidence
        assert log_e_value(Moments.of([d - lost for d in differences])) < alike


def test_the_budget_of_all_tests_is_the_budget_of_the_project() -> None:
    assert all(share(t_) > share(t_ + 1) > 0 for t_ in range(1, 200))
    assert sum(share(t_) for t_ in range(1, 10_001)) == pytest.approx(1 - math.log(2) / math.log(10_002))
    assert level(1, 0) == pytest.approx(BUDGET * share(1)) and level(7, 3) == pytest.approx(4 * level(7, 0))
    assert level(1, 10**9) == 1.0
    with pytest.raises(ValueError, match="from 1"):
        share(0)


def test_without_a_gain_it_rarely_crosses_at_any_moment() -> None:
    rng, crossed = np.random.default_rng(5), 0
    for _ in range(4000):
        differences: list[float] = []
        for each in rng.standard_normal(MOST_PAIRS).tolist():
            differences.append(each)
            outcome = judge(differences, 0.05)
            if outcome.state != "open":
                crossed += outcome.state == "crossed"
                break
    assert 0 < crossed / 4000 < 0.05


def test_clear_gain_is_merged_early_and_a_clear_loss_ends_early() -> None:
    rng = np.random.default_rng(6)
    at, pairs = level(1000, 50), []
    for _ in range(100):
        differences = rng.normal(4.0, 1.0, MOST_PAIRS).tolist()
        n = next(n for n in range(1, MOST_PAIRS + 1) if judge(differences[:n], at).state != "open")
        assert judge(differences[:n], at).state == "crossed"
        pairs.append(n)
    assert np.median(pairs) < MOST_PAIRS / 2
    assert judge([-3.0, -2.5], at).state == "open"
    assert judge([-3.0, -2.5, -3.1], at).state == "hopeless"
    assert judge([0.01, -0.01] * (MOST_PAIRS // 2), at).state == "hopeless"


def test_the_bench_plays_the_same_test() -> None:
    rng = np.random.default_rng(7)
    differences = rng.normal(rng.choice([0.0, 1.0, 3.0], 60)[:, None], 1.0, (60, MOST_PAIRS))
    courses, states = Courses.of(differences), set()
    for i, each in enumerate(differences.tolist()):
        n = next(n for n in range(1, MOST_PAIRS + 1) if judge(each[:n], 1e-4).state != "open")
        assert courses.play(i, 1e-4) == (judge(each[:n], 1e-4).state == "crossed", n)
        states.add(judge(each[:n], 1e-4).state)
    assert states == {"crossed", "hopeless"}


def test_the_interval_is_the_same_test_turned_round() -> None:
    differences = [0.4, 1.1, 0.3, 0.9, 0.2, 0.8, 0.7]
    low, high = confidence(Moments.of(differences))
    assert low < np.mean(differences) < high
    assert log_e_value(Moments.of([d - low for d in differences])) == pytest.approx(math.log(20))
    assert log_e_value(Moments.of([high - d for d in differences])) == pytest.approx(math.log(20))
    assert confidence(Moments.of([1.0])) == (-math.inf, math.inf)
    outcome = judge(differences, 0.05)
    assert (outcome.state == "crossed") == (outcome.low > 0)
    with pytest.raises(ValueError, match="not finite"):
        judge([0.1, math.nan], 0.01)


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
