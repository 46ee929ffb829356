"""Planted directives: the law's moments, and intervals of the real estimators held against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.effects.mutation import mutation_credits
from analysis.ledger import Ledger
from analysis.study import open_study
from analysis.views.scope import Scope
from bench.planted_events import Population
from bench.planted_laws import DirectiveLaw, RunLaw, planted_directives


@pytest.mark.parametrize(
    "law",
    [RunLaw(sd=0.4), RunLaw(0.2, failing=0.1), RunLaw(0.3, skew=-1.0)],
)
def test_runs_have_the_moments_of_their_law(law: RunLaw) -> None:
    drawn = law.draw(1.0, 20_000, np.random.default_rng(1))
    whole = ((1 - law.failing) * (law.sd**2 + 1.0) - law.mean(1.0) ** 2) ** 0.5
    assert drawn.mean() == pytest.approx(law.mean(1.0), abs=0.012)
    assert drawn.std() == pytest.approx(whole, rel=0.03)


def test_programs_that_share_run_seeds_are_alike_in_their_luck() -> None:
    rng, law = np.random.default_rng(1), RunLaw(common=0.7)
    seeds = rng.standard_normal(5000)
    one, other = (law.draw(1.0, 5000, rng, seeds) for _ in range(2))
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.7, abs=0.04)


def test_six_of_twenty_directives_matter() -> None:
    law = planted_directives(np.random.default_rng(1), runs=RunLaw(sd=2.0))
    assert sorted(abs(e) for e in law.effects.values())[-6:] == pytest.approx([0.4, 0.6, 0.8, 1.6, 1.8, 2.0])
    assert len(law.effects) == 20 and sum(e == 0 for e in law.effects.values()) == 14


def test_a_gamma_has_the_skewness_of_the_law() -> None:
    drawn = RunLaw(skew=-1.0).draw(0.0, 40_000, np.random.default_rng(5))
    assert stats.skew(drawn) == pytest.approx(-1.0, abs=0.1)


def test_a_match_drifts_as_one() -> None:
    law = DirectiveLaw({"a": 0.0}, runs=RunLaw(sd=0.1))
    still = law.draw(["a"], 50, np.random.default_rng(1))
    moved = law.draw(["a"], 50, np.random.default_rng(1), drift=0.7)
    assert moved - still == pytest.approx(np.full(50, 0.7))


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
