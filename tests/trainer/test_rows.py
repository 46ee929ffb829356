"""Statistics over the rows that a metric is measured on."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.rows import luck_test, paired

ROWS, ERROR, TRIES, NIGHTS = 100, 0.2, 60, 60


def night_without_effect(seed: int, least: float) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Gains in the rows of each try, the untouched script's values and the sum of the kept gains: each try draws a
    tenth of the answers anew, and all scripts are wrong in a fifth of all rows that there are."""
    rng = np.random.default_rng(seed)
    main = untouched = (rng.random(ROWS) < ERROR).astype(float)
    tries = []
    for _ in range(TRIES):
        new = np.where(rng.random(ROWS) < 0.1, rng.random(ROWS) < ERROR, main).astype(float)
        found = paired(1.0, [main], [new])
        tries.append(main - new)
        if found.value > 0 and found.value >= least * (found.se or 0.0):
            main = new
    return tries, untouched, float((untouched - main).mean())


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_luck_test_without_effects_names_what_luck_shows(least: float) -> None:
    """It is calibrated where nothing helps: its luck is what such nights show on average."""
    nights = [night_without_effect(seed, least) for seed in range(NIGHTS)]
    found = [luck_test(tries, untouched, kept, 7, least) for tries, untouched, kept in nights]
    shown = np.mean([kept for _, _, kept in nights])
    assert np.mean([luck.gain for luck in found]) == pytest.approx(shown, rel=0.25)
    assert np.mean([luck.p <= 0.05 for luck in found]) <= 0.15


def test_luck_test_of_a_real_gain_is_not_luck() -> None:
    tries, untouched, kept = night_without_effect(1, 1.0)
    assert luck_test(tries, untouched, kept + 0.1, 7).p < 0.025
