"""Sequential halving: who is promoted, and on which runs."""

from __future__ import annotations

import numpy as np

from arena.race import ArmScore, SequentialHalving, Stage
from tests.arena.racers import play


def test_halving_spends_its_last_runs_on_the_best() -> None:
    rng = np.random.default_rng(1)
    means = {f"a{i}": float(i) for i in range(8)}
    racer = SequentialHalving([Stage(None, 2), Stage(4, 4), Stage(2, 8)])
    gains = play(racer, lambda a: means[a] + 0.1 * rng.standard_normal(), list(means))
    assert {a: len(g) for a, g in gains.items()} == {
        "a0": 2, "a1": 2, "a2": 2, "a3": 2, "a4": 4, "a5": 4, "a6": 8, "a7": 8,
    }  # fmt: skip


def test_later_stage_judges_only_what_the_earlier_ones_passed() -> None:
    """A resumed race must make the choice that it made before, though the chosen arms have more runs by now."""
    racer = SequentialHalving([Stage(None, 2), Stage(1, 4)])
    spoiled = [ArmScore("first", True, (5.0, 5.0, -50.0)), ArmScore("second", True, (4.0, 4.0))]
    assert racer.next_round(spoiled) == {"first": 4}


def test_one_lucky_noisy_arm_is_shrunk_no_more_than_the_others() -> None:
    racer = SequentialHalving([Stage(None, 4), Stage(1, 8)])
    scores = [ArmScore("steady", True, (1.0, 1.1, 0.9, 1.0)), ArmScore("wild", True, (3.0, -2.0, 2.9, -1.0))]
    assert racer.next_round(scores) == {"steady": 8}
