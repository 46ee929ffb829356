"""What a study would tell: the real racer and the real claim over drawn runs, held against what is known of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.planted import RunLaw
from meta.cli.main import run
from meta.simulate import Design, World, like, race, simulate, spread_of

from .cli_study import write_study

SMALL = Design(programs=4, runs=4, rounds=2, confirm=12)


def values(world: World, design: Design = SMALL, **how: float) -> dict[str, tuple[float, float, float]]:
    found = simulate(world, design, **{"replicates": 400, "seconds": 60.0} | how)  # type: ignore[arg-type]
    return {f.name: (f.value or 0.0, f.low or 0.0, f.high or 0.0) for f in found.figures}


def test_the_same_seed_gives_the_same_figures() -> None:
    assert values(World(), replicates=50) == values(World(), replicates=50)
    assert values(World(), replicates=50) != values(World(), replicates=50, seed=2)


def test_power_is_that_of_the_test_where_it_is_known() -> None:
    """One program beside stock, so that nothing is chosen: the power of a one-sided t-test."""
    design, effect = Design(programs=2, runs=2, rounds=1, confirm=12), 0.33
    _, low, high = values(World(effects=(effect,)), design, replicates=1500)["confirmed"]
    far = effect / (0.33 * (2 / 12) ** 0.5)
    known = stats.nct.sf(stats.t.ppf(0.975, 22), 22, far)
    assert low - 0.02 < known < high + 0.02


def test_where_nothing_differs_claims_are_rare_and_intervals_hold_zero() -> None:
    found = values(World(), replicates=1500)
    assert found["false_claims"][1] <= 0.025 <= 0.05 and found["false_claims"][0] < 0.05
    assert found["null_claim_coverage"][2] > 0.94


def test_a_great_difference_is_found_and_confirmed_and_the_race_overstates_a_small_one() -> None:
    great = values(World(effects=(5.0, 0.0, 0.0)), replicates=60)
    assert great["names_best"][0] == great["confirmed"][0] == 1.0
    assert great["champion_ratio"][0] == pytest.approx(6.0)
    small = values(World(spread=0.05, runs=RunLaw(sd=0.5)))
    assert small["told_ratio"][1] > small["champion_ratio"][2]


def test_a_short_time_ends_it_and_says_so() -> None:
    found = simulate(World(), SMALL, replicates=100_000, seconds=0.3)
    assert found.stopped_early and 0 < found.replicates < 100_000
    assert found.replicates == found.null_replicates


def test_a_race_plays_its_design() -> None:
    design = Design(programs=8, runs=3, rounds=3)
    rng = np.random.default_rng(1)
    arms = race([1.0] * 8, design, RunLaw(), rng)
    assert sorted(map(len, arms)) == [3, 3, 3, 3, 6, 6, 12, 12]
    assert sum(map(len, arms)) == design.race_runs


def test_the_world_of_a_ledger_has_its_noise_and_spread() -> None:
    rng, true = np.random.default_rng(3), np.random.default_rng(4).normal(1.0, 0.5, 40)
    gains = {f"p{i}": rng.normal(mean, 0.3, 10).tolist() for i, mean in enumerate(true)}
    world = like(gains, "p0")
    assert world.runs.sd == pytest.approx(0.3, rel=0.1) and world.spread == pytest.approx(np.std(true), rel=0.15)
    assert world.stock == pytest.approx(float(np.mean(gains["p0"])))
    with pytest.raises(ValueError, match="two runs"):
        like({"p1": [1.0], "p2": [2.0]}, "p1")


def test_spread_of_given_effects_counts_stock() -> None:
    assert spread_of(World(effects=(1.0, -1.0))) == pytest.approx(1.0)


def call(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = run(["simulate", *args])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_command_states_the_law_and_every_interval(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, notes = call(capsys, "--replicates", "30", "--effects", "0.3,0", "--json")
    assert code == 0 and "3 × 4" in notes
    told = json.loads(text)
    assert told["design"]["programs"] == 3 and "+0.3, +0" in told["said"]["law"]
    assert {f["name"] for f in told["figures"]} >= {"names_best", "power", "false_claims", "claim_coverage"}
    assert all(f["low"] <= f["value"] <= f["high"] for f in told["figures"] if f["value"] is not None)
    code, text, _ = call(capsys, "--replicates", "30", "--null")
    assert code == 0 and text.splitlines()[1].startswith("false_claims\t") and "names_best" not in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--effects", "0.1,much"), "not a list of numbers"),
        (("--effects", "0.1", "--programs", "4"), "--effects has 1 programs"),
        (("--effects", "0.1", "--spread", "1"), "exclude each other"),
        (("--effects", "nan"), "out of range"),
        (("--noise", "inf"), "out of range"),
        (("--noise", "-1"), "-1"),
        (("--like", "nix"), "no study 'nix'"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], args: tuple[str, ...], says: str) -> None:
    code, text, notes = call(capsys, *args)
    assert code == 2 and text == ""
    assert says in notes.splitlines()[0] and notes.splitlines()[0].startswith("error: ")


def test_like_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "one")
    code, text, notes = call(capsys, "--like", str(tmp_path / "one"), "--replicates", "20", "--json")
    assert code == 0, notes
    law = json.loads(text)["law"]
    assert law["runs"]["sd"] > 0 and law["spread"] >= 0
    assert (
        json.loads(call(capsys, "--like", str(tmp_path / "one"), "--noise", "7", "--json", "--replicates", "5")[1])[
            "law"
        ]["runs"]["sd"]
        == 7.0
    )
