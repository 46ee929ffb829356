"""Claims beside what noise alone would show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.methods.claimed import largest, steps_of_noise
from analysis.study import query
from tests.analysis import synthetic

NOISE = 0.05


def study(folder: Path, effect: float) -> Path:
    effects = {(f"K{i}", 1): effect for i in range(12)}
    world = synthetic.World(effects, {f"K{i}": 0 for i in range(12)}, noise=NOISE)
    rng = np.random.default_rng(1)
    with Ledger(folder / "ledger", "main") as ledger:
        synthetic.program(ledger, "stock")
        synthetic.match(ledger, "m1", {"a1": "stock"})
        for seed in range(400):
            event = {"match_id": "m1", "task": "strokes", "stream": "selection", "seed": seed, "status": "ok",
                     "metric": 2.0 + rng.normal(0, NOISE), "source_id": "s0"}  # fmt: skip
            ledger.append({"kind": "baseline", **event}, sync=False)
        for run in range(150):
            synthetic.start(ledger, f"r{run}", "m1", "a1", "stock", run)
            # as a run tells it: metrics are noisy, and it keeps whatever looks better
            best = first = 2.0 + rng.normal(0, NOISE)
            from bench.planted_events import experiment

            base: dict[str, int] = dict.fromkeys(world.baseline, 0)
            experiment(ledger, f"r{run}", 0, decision="baseline", metric=first, source_id="s0", config=base)
            parent = "s0"
            for number in range(1, 11):
                metric = 2.0 - effect * number + rng.normal(0, NOISE)
                kept, knob = metric < best, f"K{rng.integers(12)}"
                experiment(ledger, f"r{run}", number, decision="keep" if kept else "discard", metric=metric,
                           parent_source_id=parent, edit={"set": {knob: 1}, "apply": []}, config=base)  # fmt: skip
                if kept:
                    best, parent = metric, f"s-r{run}-{number}"
            synthetic.end(ledger, f"r{run}", claimed=first - best)
    return folder


def test_expected_largest_and_steps_are_those_of_normal_draws() -> None:
    assert largest()[:4] == pytest.approx((0.0, 0.5642, 0.8463, 1.0294), abs=1e-4)
    assert largest()[199] == pytest.approx(2.746, abs=0.01) and len(largest()) == 1024
    assert steps_of_noise()[0] == pytest.approx(2 * 0.5642, abs=1e-3)
    draws = np.random.default_rng(2).standard_normal((200_000, 6))
    last = draws[draws[:, 5] > draws[:, :5].max(axis=1)]
    assert (last[:, 5] - last[:, :5].max(axis=1)).mean() == pytest.approx(steps_of_noise()[4], abs=0.01)


def test_where_nothing_has_an_effect_noise_is_all_of_the_claim(tmp_path: Path) -> None:
    rows = query(study(tmp_path, 0.0), "SELECT * FROM credit WHERE method = 'claimed' ORDER BY program_id NULLS LAST")
    assert rows[0]["program_id"] == "stock" and rows[0]["runs"] == 150
    assert rows[0]["estimate"] == pytest.approx(1.586 * NOISE, rel=0.15)  # the largest of 11 draws over the first
    assert rows[0]["noise_share"] > 0.85
    steps = rows[1:]
    assert len(steps) == 12 and np.mean([row["noise_share"] for row in steps]) > 0.85
    for row in rows:
        assert row["design"] == "observational" and not row["causal"]
        assert (row["low"], row["high"], row["q"]) == (None, None, None)


def test_where_effects_are_large_noise_is_little_of_it(tmp_path: Path) -> None:
    [whole] = query(study(tmp_path, 1.0), "SELECT * FROM credit WHERE method = 'claimed' AND program_id = 'stock'")
    assert whole["estimate"] == pytest.approx(10.0, abs=0.1) and whole["noise_share"] < 0.02
