"""Directions by name, of what a program prints; those of a log's columns are tested with the importer."""

from __future__ import annotations

import pytest

from trainer.values.metric_names import certain_direction, is_timed

NAMES = {
    "lower": "val_loss valLoss loss_mean time seconds error_rate p99_latency",
    "higher": "testAcc AUROC GFLOPS tok_per_sec tok/s success_rate",
    None: "performance _ score neg_loss rate failure_rate inverse_accuracy mAP bits val "
    "acc_time time_acc accuracy_mm time_to_accuracy loss_at_best_acc pass@1 ms_per_token",
}


@pytest.mark.parametrize(("name", "way"), [(name, way) for way, names in NAMES.items() for name in names.split()])
def test_directions_by_name(name: str, way: str | None) -> None:
    assert certain_direction(name) == way


@pytest.mark.parametrize("name", ["latency", "p99_ms", "total_s", "tok/s", "qps", "tokensPerSec"])
def test_times_and_rates_by_name(name: str) -> None:
    assert is_timed(name)


@pytest.mark.parametrize("name", ["val_loss", "time_to_accuracy", "bits", "params", "lss"])
def test_other_names_are_no_times(name: str) -> None:
    assert not is_timed(name)
