"""Directions by name, of what a program prints; those of a log's columns are tested with the importer."""

from __future__ import annotations

import pytest

from trainer.metric_names import loose_direction

NAMES = {
    "lower": "val_loss valLoss time walltime milliseconds peak_memory_gb bits_per_byte ms_per_token error_rate"
    " time_to_accuracy loss_at_best_acc",
    "higher": "testAcc mAP map50 AUROC top1_acc Passed GFLOPS gflops_per_sec images_per_minute neg_loss pass@1",
    None: "performance _ acc_time time_acc",
}


@pytest.mark.parametrize(("name", "way"), [(name, way) for way, names in NAMES.items() for name in names.split()])
def test_directions_by_name(name: str, way: str | None) -> None:
    assert loose_direction(name) == way
