"""Drawn studies: the real race and the real claim over drawn runs, held against what is known of them."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bench.common import share_interval
from bench.drawn_studies import Design, World, race, studies, study
from bench.planted_laws import RunLaw

SMALL = Design(programs=4, runs=4, rounds=2, confirm=12)


def test_power_is_that_of_the_test_where_it_is_known() -> None:
    """One program beside stock, so that nothing is chosen: the power of a one-sided t-test."""
    design, effect = Design(programs=2, runs=2, rounds=1, confirm=12), 0.33
    rng = np.random.default_rng(1)
    holds = [
        study(world, design, rng)[1].holds
        for _ in range(1500)
        for world in (World(effects=(effect,)), World(effects=(0.0,)))
    ][::2]
    low, high = share_interval(sum(holds), len(holds))
    far = effect / (0.33 * (2 / 12) ** 0.5)
    known = stats.nct.sf(stats.t.ppf(0.975, 22), 22, far)
    assert low - 0.02 < known < high + 0.02


def test_null_studies_rarely_claim_and_their_intervals_hold_zero() -> None:
    made = [claim for _, claim in studies(World(), SMALL, 1500, 1)]
    share = sum(claim.holds for claim in made) / len(made)
    assert share_interval(sum(claim.holds for claim in made), len(made))[0] <= 0.025 and share < 0.05
    covered = sum(claim.tested.lead.low <= 0 <= claim.tested.lead.high for claim in made)
    assert share_interval(covered, len(made))[1] > 0.94


def test_a_great_difference_is_found_and_confirmed() -> None:
    made = studies(World(effects=(5.0, 0.0, 0.0)), SMALL, 60, 1)
    assert all(champion == 1 and claim.holds for champion, claim in made)


def test_a_race_plays_its_design() -> None:
    design = Design(programs=8, runs=3, rounds=3)
    rng = np.random.default_rng(1)
    arms = race([1.0] * 8, design, RunLaw(), rng)
    assert sorted(map(len, arms)) == [3, 3, 3, 3, 6, 6, 12, 12]
    assert sum(map(len, arms)) == design.race_runs
