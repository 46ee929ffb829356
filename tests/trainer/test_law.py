"""The law of a simulated task: its moments are what it says, over many draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.simulated_tasks import null_law, random_law
from trainer.laws.law import Law

DRAWS = 4000
BEFORE = {"LR": 0.1, "WIDTH": 8, "OPT": "sgd", "muon": False}
LAW = Law(
    before=BEFORE,
    effects={("LR", 0.2): 0.3, ("LR", 0.05): -0.1, ("OPT", "adam"): 0.2, ("muon", True): 0.5},
    interactions={(("LR", 0.2), ("muon", True)): -0.15},
    noise=0.1,
)
BEST = {"LR": 0.2, "WIDTH": 8, "OPT": "adam", "muon": True}


def metrics(law: Law, config: dict[str, object], **more: object) -> np.ndarray:
    """Of one source under many seeds."""
    told = [law.simulate(config, "s1", seed=seed, stream="search", **more).metric for seed in range(DRAWS)]  # type: ignore[arg-type]
    return np.array(told, dtype=float)


def test_a_gain_is_the_sum_of_effects_and_interactions() -> None:
    assert LAW.gain(BEFORE) == 0.0
    assert LAW.gain(BEST) == pytest.approx(0.3 + 0.2 + 0.5 - 0.15)
    assert LAW.headroom == pytest.approx(1.0)
    assert LAW.gain(BEFORE | {"WIDTH": 64}) == 0.0  # the law does not name it


@pytest.mark.parametrize(("value", "effect"), [(0.15, 0.15), (0.075, -0.05), (0.9, 0.3), (0.01, -0.1), (0.1, 0.0)])
def test_numbers_between_two_that_are_named_are_interpolated(value: float, effect: float) -> None:
    assert LAW.effect(("LR", value)) == pytest.approx(effect)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_metrics_have_the_mean_and_the_sd_of_the_law(sign: float) -> None:
    law = replace(LAW, sign=sign)
    for config, gain in ((BEFORE, 0.0), (BEST, 0.85)):
        drawn = metrics(law, config)
        assert sign * (law.metric - drawn.mean()) == pytest.approx(gain, abs=4 * 0.1 / DRAWS**0.5)
        assert drawn.std() == pytest.approx(0.1, rel=4 / (2 * DRAWS) ** 0.5)


def test_noise_shrinks_as_the_run_improves() -> None:
    law = replace(LAW, shrink=0.8)
    assert law.sd(0.0) == 0.1 and law.sd(-1.0) == 0.1 and law.sd(9.0) == pytest.approx(0.02)
    assert metrics(law, BEST).std() == pytest.approx(0.1 * (1 - 0.8 * 0.85), rel=4 / (2 * DRAWS) ** 0.5)


def test_a_training_seed_holds_to_its_own_view_of_an_edit() -> None:
    """Two sources that share an edit stray together under one seed: a run is led by its seed, two runs differ."""
    law = replace(LAW, noise=0.0, trajectory=0.05)
    one = metrics(law, BEFORE | {"OPT": "adam"})
    other = metrics(law, BEFORE | {"OPT": "adam", "WIDTH": 64})
    assert one.std() == pytest.approx(0.05, rel=0.1)
    assert other.std() == pytest.approx(0.05 * 2**0.5, rel=0.1)
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.5**0.5, abs=0.05)
    assert metrics(law, BEFORE).std() == 0.0


def test_drift_moves_all_sources_of_a_match_alike() -> None:
    law = replace(LAW, noise=0.0, drift=0.2)

    def at(config: dict[str, object], block: str) -> float:
        return law.simulate(config, "s1", seed=1, stream="selection", block=block).metric or 0.0  # type: ignore[arg-type]

    moved = np.array([at(BEFORE, f"m{i}") for i in range(DRAWS)])
    assert moved.mean() == pytest.approx(law.metric, abs=4 * 0.2 / DRAWS**0.5)
    assert moved.std() == pytest.approx(0.2, rel=0.1)
    assert at(BEFORE, "m1") - at(BEST, "m1") == pytest.approx(law.gain(BEST))
    assert at(BEFORE, "") == law.metric


def test_share_of_crashes_is_the_laws_and_never_the_baselines() -> None:
    law = replace(LAW, crash_rate=0.2)
    edited = [law.simulate(BEST, f"s{i}", seed=1, stream="search").metric is None for i in range(DRAWS)]
    assert np.mean(edited) == pytest.approx(0.2, abs=4 * 0.4 / DRAWS**0.5)
    assert all(law.simulate(BEFORE, f"s{i}", seed=1, stream="search").metric is not None for i in range(200))
    always = replace(LAW, crashes=frozenset({("OPT", "adam")}))
    assert always.simulate(BEST, "s1", seed=1, stream="search").crash.startswith("OPT")


def test_a_fraction_is_slower_and_misleads_about_sources() -> None:
    law = replace(LAW, noise=0.0, slow=0.4, misleading=0.1)
    drawn = np.array([law.simulate(BEST, f"s{i}", seed=1, stream="search", fraction=0.25).metric for i in range(DRAWS)])
    assert drawn.mean() == pytest.approx(law.metric - 0.85 + 0.75 * 0.4, abs=4 * 0.075 / DRAWS**0.5)
    assert drawn.std() == pytest.approx(0.075, rel=0.1)


def test_same_question_has_the_same_answer_another_law_another() -> None:
    law = replace(LAW, trajectory=0.05)
    asked = {"seed": 3, "stream": "search"}
    first = law.simulate(BEST, "s1", **asked)  # type: ignore[arg-type]
    assert first == replace(law).simulate(BEST, "s1", **asked)  # type: ignore[arg-type]
    assert first != replace(law, seed=2).simulate(BEST, "s1", **asked)  # type: ignore[arg-type]
    assert first != law.simulate(BEST, "s1", seed=3, stream="selection")


def test_random_laws_need_several_edits_null_laws_pay_nothing() -> None:
    for seed in range(20):
        law = random_law(seed)
        best = sorted((max(e for (n, _), e in law.effects.items() if n == name) for name in law.before), reverse=True)
        assert sum(best[:3]) < 0.95 * law.headroom  # three edits do not reach it
        assert 0.15 < np.mean([effect > 0 for effect in law.effects.values()]) < 0.65
        assert len(law.crashes) == 2 and len(law.interactions) <= 4
        nothing = null_law(seed)
        assert nothing.headroom == 0.0 and set(nothing.effects) == set(law.effects)
        assert nothing.noise == law.noise and not nothing.interactions
