"""One training that is scored on several hidden splits, and the splits themselves."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from tests.inner_loop.play import BLOBS
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

LABELS = ("match 0 0", "match 0 1", "match 1 0")


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(Task.load(BLOBS), Streams.from_seed(5), tmp_path / "data")


def test_splits_made_together_are_those_made_one_by_one(store: DataStore, tmp_path: Path) -> None:
    store.make_all("confirmation", [*LABELS, LABELS[0]], processes=2)
    alone = DataStore(store.task, store.streams, tmp_path / "alone")
    targets = [np.load(store.labelled(label).split("confirmation") / "targets.npy") for label in LABELS]
    for label, made in zip(LABELS, targets, strict=True):
        folder = alone.labelled(label).split("confirmation")
        assert sorted(path.name for path in folder.iterdir()) == ["inputs.npy", "targets.npy"]
        assert np.array_equal(np.load(folder / "targets.npy"), made)
    assert not np.array_equal(targets[0], targets[1])
    assert len(list((tmp_path / "data" / store.task.task_id).iterdir())) == len(LABELS)


def test_training_on_several_splits_has_the_scores_of_each(store: DataStore) -> None:
    with Trainer(store.task, store, fixed_steps=True) as trainer:
        source = store.task.baseline()
        outcome = trainer.run(Spec(source, 3, "confirmation", splits=LABELS))
        single = {label: trainer.run(Spec(source, 3, "confirmation", splits=(label,))).metric for label in LABELS}
    assert outcome.splits == single and len(set(single.values())) == len(LABELS)
    assert outcome.metric == pytest.approx(fmean(outcome.splits.values())) and outcome.trust == "verified"
