"""Baselines, steps, what was measured again, and how many kept steps are distinguishable from noise."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import pytest

from analysis.imports.columns import Stated
from analysis.imports.runs import MeasurementNoise
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import bring_in_one, rows
from tests.analysis.imports.samples import tsv
from trainer.values.metric_names import named_direction


@pytest.mark.parametrize(
    ("name", "way"),
    [("val_bpb", "lower"), ("val_rmse", "lower"), ("score", "higher"), ("tok_per_sec", "higher"),
     ("win_rate", "higher"),
     ("ms_per_token", "lower"), ("error_rate", "lower"), ("neg_loss", "higher"),
     ("neg_log_likelihood", "lower"),
     ("performance", None), ("Val Accuracy (%)", "higher")],
)  # fmt: skip
def test_directions_by_name(name: str, way: str | None) -> None:
    assert named_direction(name)[0] == way


def test_steps_are_computed(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, samples.CANONICAL)
    assert rows(tmp_path, "e.number", "step_gain", "step_tries", "best_so_far") == [
        (0, None, None, 1.12), (1, pytest.approx(0.012), 1, 1.108), (2, None, None, 1.108), (3, None, None, 1.108),
        (4, pytest.approx(0.007), 2, 1.101),
    ]  # fmt: skip
    assert (run["tried"], run["kept"], run["discarded"], run["failed"]) == (4, 2, 1, 1)
    assert (run["baseline"], run["best_kept"], run["best_line"]) == (1.12, 1.101, 6)
    assert (run["claimed_gain"], run["chance_keeps"]) == (pytest.approx(0.019), pytest.approx(1 / 2 + 1 / 3 + 1 / 4))
    assert rows(tmp_path, "e.gain")[1] == (pytest.approx(0.012),)


def test_without_statuses_each_new_best_is_a_step(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path, tsv("commit|val_loss|description", "a|2.0|b", "b|2.1|c", "c|1.9|d", "d|1.95|e"))
    assert (run["decided"], run["kept"], run["new_bests"], run["undecided"]) == (False, 0, 1, 3)
    assert run["claimed_gain"] == pytest.approx(0.1)
    text = tsv(
        "id|tok_per_sec|status|notes", "1|10|ok|baseline", "2|14|ok|a", "3|20|REVERT|b", "4|0|FAIL|c", "5|15|ok|d"
    )
    run = bring_in_one(tmp_path / "b", text)
    assert (run["new_bests"], run["discarded"], run["failed"], run["claimed_gain"]) == (2, 1, 1, 5.0)


def test_rows_before_the_baseline_count_below_zero(tmp_path: Path) -> None:
    bring_in_one(tmp_path, tsv("commit|val_bpb|status", "a|0.0|crash", "b|1.1|keep", "c|1.0|keep"))
    assert rows(tmp_path, "e.number", "metric") == [(-1, None), (0, 1.1), (1, 1.0)]


def test_a_log_without_a_baseline(tmp_path: Path) -> None:
    run = bring_in_one(tmp_path / "a", tsv("commit|val_bpb|status", "a|1.2|discard", "b|1.1|keep", "c|1.0|keep"))
    assert (run["baseline"], run["claimed_gain"], run["best_kept"], run["kept"]) == (None, None, 1.0, 2)
    assert [number for (number,) in rows(tmp_path / "a", "e.number")] == [1, 2, 3]
    run = bring_in_one(tmp_path / "b", samples.ONLY_CRASHES)
    assert (run["tried"], run["failed"], run["baseline"], run["best_measured"]) == (2, 2, None, None)


def test_what_was_kept_although_it_is_worse_is_no_new_best(tmp_path: Path) -> None:
    text = tsv("commit|val_loss|status", "a|2|keep", "b|1.9|keep", "c|1.4|discard", "d|1.95|keep", "e|1.8|keep")
    run = bring_in_one(tmp_path, text, Stated(noise=1e-6))
    assert [(step, best) for step, best in rows(tmp_path, "round(step_gain, 6)", "best_so_far")][1:] == [
        (0.1, 1.9), (None, 1.9), (-0.05, 1.9), (0.1, 1.8),
    ]  # fmt: skip
    assert (run["best_measured"], run["best_kept"], run["noise_steps"]) == (1.4, 1.8, 1)


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("c3|1.95|discard|baseline", 2),
        ("c3|1.95|baseline|start anew", 2),
        ("b2b2b22|1.95|discard|rerun", 3),
        ("b2b2b22|1.95|discard|wider net", 3),  # commit and description are the same
        ("c3|1.95|discard|replicate b2b2b22 with more care", 3),
        ("c3|1.95|discard|re-run: wider net, seed 4", 3),
        ("c3|1.95|discard|verification of the best", 3),
        ("c3|1.95|discard|sanity check of the baseline", 2),
        ("b2b2b22|1.95|discard|narrower net", None),  # a discarded row has the hash of what it started from
        ("c3|1.95|discard|retry with warmup", None),
        ("c3|-|crash|rerun of the best", None),
    ],
)
def test_what_counts_as_measured_again(tmp_path: Path, line: str, again: int | None) -> None:
    text = tsv("commit|val_loss|status|description", "a1a1a11|2.0|keep|baseline", "b2b2b22|1.9|keep|wider net", line)
    bring_in_one(tmp_path, text)
    assert rows(tmp_path, "again")[2] == (again,)


def test_a_best_that_was_measured_again_at_a_third(tmp_path: Path) -> None:
    """The re-runs give the noise and the step: the lucky measurement itself says nothing of either."""
    run = bring_in_one(tmp_path, samples.RERUN_LOWER)
    assert [line for (line,) in rows(tmp_path, "again")] == [None, None, None, 4, 4, 4, None]
    assert (run["claimed_gain"], run["rerun_gain"]) == (pytest.approx(0.8), pytest.approx(0.2))
    assert (run["noise_sd"], run["noise_df"], run["noise_sources"]) == (pytest.approx(0.01), 2, 1)
    worse = bring_in_one(tmp_path / "worse", samples.RERUN_LOWER.replace("0.29", "0.09").replace("0.31", "0.11"))
    assert (run["noise_steps"], worse["noise_steps"]) == (0, 2)


def test_the_best_changes_between_two_re_runs(tmp_path: Path) -> None:
    lines = ("a|9|keep|start", "b|8|keep|x", "c|8.1|discard|rerun of best", "d|2|keep|y", "e|2.1|discard|rerun of best")
    run = bring_in_one(tmp_path, tsv("commit|val_loss|status|what", *lines))
    assert [line for (line,) in rows(tmp_path, "again")] == [None, None, 3, None, 5]
    assert (run["noise_sd"], run["noise_sources"]) == (pytest.approx(0.1 / math.sqrt(2)), 2)


def test_copied_rows_show_no_noise(tmp_path: Path) -> None:
    text = tsv("commit|val_loss|status|what", "a|2.0|keep|baseline", "a|2.0|keep|baseline", "b|1.9|keep|x")
    run = bring_in_one(tmp_path, text)
    assert (run["noise_sd"], run["noise_steps"], run["noise_share"], run["reruns"]) == (None, None, None, 1)


def test_noise_is_pooled(tmp_path: Path) -> None:
    text = ["a|1.0|keep|baseline", "a|1.2|discard|baseline", *(f"b|{v}|discard|wide" for v in (3.0, 3.1, 3.2))]
    run = bring_in_one(tmp_path, tsv("commit|val_loss|status|what", *text))
    assert (run["noise_df"], run["noise_sources"]) == (3, 2)
    assert run["noise_sd"] == pytest.approx(math.sqrt((0.02 + 0.02) / 3))


def test_the_noise_that_explains_steps(tmp_path: Path) -> None:
    large = bring_in_one(tmp_path / "a", samples.CANONICAL, Stated(noise=0.02))
    small = bring_in_one(tmp_path / "b", samples.CANONICAL, Stated(noise=0.0001))
    assert (large["noise_steps"], large["noise_share"], small["noise_steps"]) == (2, 1.0, 0)
    assert (
        small["chance_gain"]
        < large["chance_gain"]
        == pytest.approx(0.02 * statistics.NormalDist().inv_cdf(3.625 / 4.25))
    )


@pytest.mark.parametrize(("tries", "df"), [(1, 2), (1, 10), (5, 4), (20, 10)])
def test_how_often_noise_alone_passes(tries: int, df: int) -> None:
    """Of tries without an effect at most one best in twenty passes, also with an SD of few repeats; real ones do."""
    rng = random.Random(6)
    passed = found = 0
    for _ in range(2000):
        sd = math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(df)) / df)
        step = max(rng.gauss(0, 1) for _ in range(tries)) - rng.gauss(0, 1)
        noise = MeasurementNoise(sd, df, 1)
        passed += (noise.p(step, tries) or 0.0) <= 0.05
        found += (noise.p(step + 100.0, tries) or 0.0) <= 0.05
    assert passed / 2000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000) and found / 2000 > 0.9
    assert tries > 1 or passed / 2000 > 0.03


def test_what_a_loop_without_effect_gains() -> None:
    rng = random.Random(3)
    gains = [max(rng.gauss(0, 1) for _ in range(101)) for _ in range(3000)]
    assert MeasurementNoise(1.0).best_of(100) == pytest.approx(statistics.fmean(gains), abs=0.08)
    assert (MeasurementNoise(1.0).best_of(0), MeasurementNoise().best_of(5)) == (None, None)
