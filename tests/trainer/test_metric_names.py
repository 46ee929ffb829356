"""Directions by name, of what a program prints; those of a log's columns are tested with the importer."""

from __future__ import annotations

import pytest

from trainer.values.metric_names import ending_direction

NAMES = {
    "lower": "val_loss valLoss time seconds bits error_rate",
    "higher": "testAcc mAP AUROC Passed GFLOPS tok_per_sec tok/s neg_loss",
    None: "performance _ score acc_time time_acc accuracy_mm time_to_accuracy loss_at_best_acc pass@1 ms_per_token",
}


@pytest.mark.parametrize(("name", "way"), [(name, way) for way, names in NAMES.items() for name in names.split()])
def test_directions_by_name(name: str, way: str | None) -> None:
    assert ending_direction(name) == way
