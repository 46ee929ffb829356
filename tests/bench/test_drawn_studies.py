"""Drawn runs and studies of a known law: its moments, and the real race, claim and estimators held against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.effects.mutation import mutation_credits
from analysis.ledger import Ledger
from analysis.study import open_study
from analysis.views.scope import Scope
from bench.common import share_interval
from bench.drawn_studies import Design, World, race, studies, study
from bench.own_share import DEVIATION, RELATIONS, several_laws
from bench.planted_events import Population
from bench.planted_laws import DirectiveLaw, RunLaw, planted_directives

SMALL = Design(programs=4, runs=4, rounds=2, confirm=12)


def test_power_is_that_of_the_test_where_it_is_known() -> None:
    """One program beside stock, so that nothing is chosen: the power of a one-sided t-test."""
    design, effect = Design(programs=2, runs=2, rounds=1, confirm=12), 0.33
    rng, worlds = np.random.default_rng(1), (World(effects=(effect,)), World(effects=(0.0,)))
    holds = [study(world, design, rng)[1].holds for _ in range(1500) for world in worlds][::2]
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
    arms = race([1.0] * 8, design, RunLaw(), np.random.default_rng(1))
    assert sorted(map(len, arms)) == [3, 3, 3, 3, 6, 6, 12, 12]
    assert sum(map(len, arms)) == design.race_runs


@pytest.mark.parametrize("law", [RunLaw(sd=0.4), RunLaw(0.2, failing=0.1), RunLaw(0.3, skew=-1.0)])
def test_runs_have_the_moments_of_their_law(law: RunLaw) -> None:
    drawn = law.draw(1.0, 40_000, np.random.default_rng(1))
    whole = ((1 - law.failing) * (law.sd**2 + 1.0) - law.mean(1.0) ** 2) ** 0.5
    assert drawn.mean() == pytest.approx(law.mean(1.0), abs=0.012)
    assert drawn.std() == pytest.approx(whole, rel=0.03)
    assert law.failing or stats.skew(drawn) == pytest.approx(law.skew, abs=0.1)


def test_runs_share_the_luck_of_their_seed_and_of_their_match() -> None:
    rng, law = np.random.default_rng(1), RunLaw(common=0.7)
    seeds = rng.standard_normal(5000)
    one, other = (law.draw(1.0, 5000, rng, seeds) for _ in range(2))
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.7, abs=0.04)
    whole = DirectiveLaw({"a": 0.0}, runs=RunLaw(sd=0.1))
    still, moved = (whole.draw(["a"], 50, np.random.default_rng(1), drift=drift) for drift in (0.0, 0.7))
    assert moved - still == pytest.approx(np.full(50, 0.7))


def test_six_of_twenty_directives_matter() -> None:
    law = planted_directives(np.random.default_rng(1), runs=RunLaw(sd=2.0))
    assert sorted(map(abs, law.effects.values())) == pytest.approx([0.0] * 14 + [0.4, 0.6, 0.8, 1.6, 1.8, 2.0])


def test_population_is_read_like_a_study_with_paired_children(tmp_path: Path) -> None:
    law = planted_directives(np.random.default_rng(2), runs=RunLaw(sd=1.0, common=0.5, drift=1.0))
    strong = max(law.effects, key=lambda name: abs(law.effects[name]))
    with Ledger(tmp_path / "ledger", "main") as ledger:
        people = Population(ledger, law, np.random.default_rng(3))
        people.add("parent", ["d00"] if strong != "d00" else ["d01"])
        for i in range(60):
            people.add(f"child{i:02d}", [*people.held["parent"], strong], ["parent"], 1)
        people.play("m1", list(people.held), 6, generation=1)
    with open_study(tmp_path, views=()) as con:
        rows = mutation_credits(Scope(con, "strokes"))
    assert len(rows) == 60 and {row.design for row in rows} == {"paired"} and {row.n for row in rows} == {6}
    mean = np.mean([row.estimate for row in rows])
    assert mean == pytest.approx(law.effects[strong], abs=4 * (0.5 / 6) ** 0.5)  # all share the parent's own luck


def test_several_laws_have_the_relation_of_their_seed() -> None:
    for seed in range(1, 13):
        laws, relation = several_laws(seed), RELATIONS[seed % 3]
        assert len(laws) == 2 + seed % 2 and len({law.seed for law in laws}) == len(laws)
        shared = set(laws[0].before) & set(laws[1].before)
        assert shared == (set() if relation == "apart" else set(laws[0].before))
        if relation == "alike":
            deviations = [laws[1].effects[change] - effect for change, effect in laws[0].effects.items()]
            assert np.std(deviations) == pytest.approx(DEVIATION, rel=0.3)
